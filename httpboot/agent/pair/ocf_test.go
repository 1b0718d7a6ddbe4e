package pair

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// contents are what the volume of the tests has.
var testContents = Contents{
	Revision: "r1",
	Images:   []Image{{Name: "web", Version: 7, Squashfs: "/images/web/7/root.squashfs", Seal: "/images/web/7/root.seal", Size: 4}},
	Dirs:     []Dir{{Path: "volumes/www", Mode: 0o750}, {Path: "state/web-01/var-log", Mode: 0o2755}},
	Exports: []Export{
		{Clients: prefixes("10.77.0.0/24"), ReadOnly: true},
		{Path: "images/web/7", Clients: prefixes("10.77.0.20/31"), ReadOnly: true, NoRootSquash: true},
		{Path: "state/web-01", Clients: prefixes("10.77.0.21/32"), NoRootSquash: true},
		{Path: "volumes/www", Clients: prefixes("10.77.0.21/32", "10.77.0.22/32")},
	},
}

func prefixes(in ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// newServer is a machine whose DRBD has just been promoted, with a volume that was served before.
func newServer(t testing.TB) (*fakeMachine, *ResourceAgent, *bytes.Buffer) {
	f := newFakeMachine(t)
	f.file(Device, "")
	m := f.machine()
	if err := m.keep(keptFile, testContents); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/volumes/www", "/state/web-01/var-log", "/images/web"} {
		f.dir(Volume + dir)
	}
	f.file(Volume+"/images/web/7.squashfs", "hsqs")
	log := &bytes.Buffer{}
	return f, &ResourceAgent{Config: testConfig, Root: f.root, System: f, Network: f, Log: log}, log
}

func (f *fakeMachine) mountPoints() []string {
	var out []string
	for _, m := range f.machine().mounts() {
		out = append(out, m.source+" "+strings.TrimPrefix(m.target, f.root))
	}
	return out
}

func TestStartStop(t *testing.T) {
	f, a, log := newServer(t)
	if code := a.Do(t.Context(), "monitor"); code != ocfNotRunning {
		t.Errorf("monitor before: %d", code)
	}
	if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
		t.Errorf("stop of what does not run: %d\n%s", code, log)
	}
	for range 2 { // the second one changes nothing
		if code := a.Do(t.Context(), "start"); code != ocfSuccess {
			t.Fatalf("start: %d\n%s", code, log)
		}
		if code := a.Do(t.Context(), "monitor"); code != ocfSuccess {
			t.Errorf("monitor: %d\n%s", code, log)
		}
	}
	want := []string{
		"nfsd /proc/fs/nfsd", "rpc_pipefs /run/rpc_pipefs", "/dev/drbd0 /srv/pair", "bind:/srv/pair/.nfs /var/lib/nfs",
		"muster-pair /run/muster/pair/export",
		"loop:/srv/pair/images/web/7.squashfs /run/muster/pair/export/images/web/7",
		"bind:/srv/pair/state/web-01 /run/muster/pair/export/state/web-01",
		"bind:/srv/pair/volumes/www /run/muster/pair/export/volumes/www",
	}
	if d := cmp.Diff(want, f.mountPoints()); d != "" {
		t.Errorf("mounts: -want +got:\n%s", d)
	}
	wantExports := `# Written by muster's storage pair; changes are lost.
/run/muster/pair/export 10.77.0.0/24(ro,sync,no_subtree_check,root_squash,fsid=0) 10.77.0.20/31(ro,sync,no_subtree_check,root_squash,fsid=0) 10.77.0.21(ro,sync,no_subtree_check,root_squash,fsid=0) 10.77.0.22(ro,sync,no_subtree_check,root_squash,fsid=0)
/run/muster/pair/export/images/web/7 10.77.0.20/31(ro,sync,no_subtree_check,no_root_squash,fsid=dcfd2f47-a1e2-ed99-3365-c62232b32001)
/run/muster/pair/export/state/web-01 10.77.0.21(rw,sync,no_subtree_check,no_root_squash,fsid=7c19a74f-950c-ce3c-c0b7-556d0e3a072c)
/run/muster/pair/export/volumes/www 10.77.0.21(rw,sync,no_subtree_check,root_squash,fsid=bfa7a9dc-abfb-51a9-197b-00871680b82c) 10.77.0.22(rw,sync,no_subtree_check,root_squash,fsid=bfa7a9dc-abfb-51a9-197b-00871680b82c)
`
	if d := cmp.Diff(wantExports, f.read(exportsFile)); d != "" {
		t.Errorf("exports (an fsid that changes makes every client's handles stale): -want +got:\n%s", d)
	}
	for file, want := range map[string]string{"threads": threads, "nfsv4leasetime": "10\n", "nfsv4gracetime": "10\n", "versions": "+4.2\n"} {
		if got := f.read(nfsdDir + "/" + file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if !f.machine().flag(ServingFile) || !f.machine().flag(servedFile) {
		t.Error("it is not noted that the volume is served")
	}
	// The address comes last and goes first.
	did := f.did()
	if did[len(did)-1] != "address + 10.77.0.9/24 eth0" || len(f.told) < 3 {
		t.Errorf("it did %q, announced %d times", did, len(f.told))
	}
	at := func(s string) int { return slices.Index(did, s) }
	if !(at("mount bind:/srv/pair/.nfs /var/lib/nfs") < at("/usr/sbin/nfsdcld") && at("/usr/sbin/nfsdcld") < at("exportfs -ra")) || at("/usr/sbin/nfsdcld") < 0 {
		t.Errorf("order: %q", did)
	}
	for range 2 {
		if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
			t.Fatalf("stop: %d\n%s", code, log)
		}
		if code := a.Do(t.Context(), "monitor"); code != ocfNotRunning {
			t.Errorf("monitor after: %d", code)
		}
	}
	if did := f.did(); did[0] != "address - 10.77.0.9/24 eth0" {
		t.Errorf("stop did first %q", did)
	}
	if d := cmp.Diff(want[:2], f.mountPoints()); d != "" {
		t.Errorf("it left: -want +got:\n%s", d)
	}
	if f.read("/proc/net/rpc/nfsd.export/flush") != "1\n" {
		t.Error("the kernel's caches were not flushed: they hold the mounts")
	}
	if f.machine().flag(ServingFile) || f.read(exportsFile) != "" || f.read(threadsFile) != "0\n" || len(f.machine().processes("nfsdcld")) > 0 {
		t.Error("it left something that serves")
	}
}

// What fails half-way is an error, is freed by a stop, and does not keep the next start from working.
func TestStartFailsHalfWay(t *testing.T) {
	for _, broken := range []string{Volume, "/var/lib/nfs", ExportDir, "/usr/sbin/nfsdcld", "/usr/sbin/rpc.mountd", "exportfs", "net"} {
		f, a, log := newServer(t)
		f.broken[broken] = errors.New("broken")
		f.program("exportfs", func(args []string) (string, error) { return "", f.broken["exportfs"] })
		if code := a.Do(t.Context(), "start"); code != ocfGeneric {
			t.Errorf("%s: start: %d\n%s", broken, code, log)
		}
		if f.machine().flag(ServingFile) || f.addrs[testConfig.Floating.Addr()] != "" {
			t.Errorf("%s: it serves", broken)
		}
		delete(f.broken, broken)
		if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
			t.Errorf("%s: stop: %d\n%s", broken, code, log)
		}
		if left := f.mountPoints(); len(left) > 2 {
			t.Errorf("%s: it left %q", broken, left)
		}
		if code := a.Do(t.Context(), "start"); code != ocfSuccess {
			t.Errorf("%s: start again: %d\n%s", broken, code, log)
		}
	}
}

// One export that can't be made must not keep all nodes from their roots.
func TestStartWithoutAnImage(t *testing.T) {
	f, a, log := newServer(t)
	if err := os.Remove(f.root + Volume + "/images/web/7.squashfs"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(f.root + Volume + "/state/web-01"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", f.root+Volume+"/state/web-01"); err != nil {
		t.Fatal(err)
	}
	if code := a.Do(t.Context(), "start"); code != ocfSuccess {
		t.Fatalf("start: %d\n%s", code, log)
	}
	got := f.read(exportsFile)
	if strings.Contains(got, "images/web/7") || strings.Contains(got, "state/web-01") || !strings.Contains(got, "volumes/www") {
		t.Errorf("it exports:\n%s", got)
	}
}

func TestMonitorSeesParts(t *testing.T) {
	tests := map[string]func(f *fakeMachine){
		"nfsd does not run":            func(f *fakeMachine) { f.file(threadsFile, "0\n") },
		"10.77.0.9/24 is not here":     func(f *fakeMachine) { delete(f.addrs, testConfig.Floating.Addr()) },
		"rpc.mountd does not run":      func(f *fakeMachine) { f.kill("rpc.mountd") },
		"nfsdcld does not run":         func(f *fakeMachine) { f.kill("nfsdcld") },
		"the volume is not mounted":    func(f *fakeMachine) { f.file("/proc/mounts", "") },
		"the volume is read-only, aft": func(f *fakeMachine) { f.file("/proc/mounts", "/dev/drbd0 "+f.root+Volume+" ext4 ro,noatime 0 0\n") },
	}
	for want, spoil := range tests {
		f, a, log := newServer(t)
		if code := a.Do(t.Context(), "start"); code != ocfSuccess {
			t.Fatalf("start: %d\n%s", code, log)
		}
		ran := len(f.did())
		spoil(f)
		if code := a.Do(t.Context(), "monitor"); code != ocfGeneric || !strings.Contains(log.String(), want) {
			t.Errorf("%s: monitor: %d\n%s", want, code, log)
		}
		if did := f.did(); ran == 0 || len(did) > 0 {
			t.Errorf("monitor ran %q", did)
		}
	}
}

func (f *fakeMachine) kill(name string) {
	for _, pid := range f.machine().processes(name) {
		f.Kill(pid, 9)
	}
}

func TestStopWaitsForWhoUsesIt(t *testing.T) { synctest.Test(t, stopWaitsForWhoUsesIt) }

func stopWaitsForWhoUsesIt(t *testing.T) {
	f, a, log := newServer(t)
	if code := a.Do(t.Context(), "start"); code != ocfSuccess {
		t.Fatalf("start: %d\n%s", code, log)
	}
	f.did()
	f.busy[Volume], f.busy[ExportDir+"/volumes/www"], f.exitLate = 3, 2, true
	if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
		t.Fatalf("stop: %d\n%s", code, log)
	}
	for _, s := range f.did() {
		if strings.HasPrefix(s, "fuser") {
			t.Errorf("it killed at once: %s", s)
		}
	}
}

func TestStopFailsWhenTheVolumeStays(t *testing.T) { synctest.Test(t, stopFailsWhenTheVolumeStays) }

func stopFailsWhenTheVolumeStays(t *testing.T) {
	f, a, log := newServer(t)
	if code := a.Do(t.Context(), "start"); code != ocfSuccess {
		t.Fatalf("start: %d\n%s", code, log)
	}
	f.busy[Volume] = 1 << 30
	if code := a.Do(t.Context(), "stop"); code != ocfGeneric {
		t.Errorf("stop: %d\n%s", code, log)
	}
	if !slices.Contains(f.did(), "fuser -k -M -m /srv/pair") {
		t.Error("it killed nobody")
	}
	if f.addrs[testConfig.Floating.Addr()] != "" {
		t.Error("the address stayed")
	}
}

func TestActions(t *testing.T) {
	_, a, _ := newServer(t)
	if code := a.Do(t.Context(), "migrate_to"); code != ocfUnimplemented {
		t.Errorf("migrate_to: %d", code)
	}
	if code := a.Do(t.Context(), "validate-all"); code != ocfSuccess {
		t.Errorf("validate-all: %d", code)
	}
}

func TestReadConfig(t *testing.T) {
	root := t.TempDir()
	if _, err := ReadConfig(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	os.MkdirAll(root+"/etc/muster", 0o755)
	for text, ok := range map[string]bool{
		`{"pool":"storage","slot":"storage-01","number":1,"address":"10.77.0.10","peer":"storage-02","peerAddress":"10.77.0.11","floating":"10.77.0.9/24"}`: true,
		`{"slot":"storage-01","address":"10.77.0.10","floating":"10.77.0.9/24"}`:                                                                            false,
		`{`: false,
	} {
		os.WriteFile(root+ConfigFile, []byte(text), 0o600)
		c, err := ReadConfig(root)
		if (err == nil) != ok || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
		if ok && c != testConfig {
			t.Errorf("got %+v", c)
		}
	}
}

// What is mounted from the volume elsewhere keeps DRBD primary, whatever became of its own mount.
func TestStopFailsWhileAnExportStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, log := newServer(t)
		if code := a.Do(t.Context(), "start"); code != ocfSuccess {
			t.Fatalf("start: %d\n%s", code, log)
		}
		f.busy[ExportDir+"/volumes/www"] = 1 << 30
		if code := a.Do(t.Context(), "stop"); code != ocfGeneric {
			t.Errorf("stop: %d\n%s", code, log)
		}
		if _, ok := f.machine().mounted(Volume); ok {
			t.Error("the volume itself was not freed")
		}
		if !slices.ContainsFunc(f.did(), func(s string) bool {
			return strings.HasPrefix(s, "fuser ") && strings.Contains(s, ExportDir+"/volumes/www")
		}) {
			t.Error("who uses it was not killed")
		}
	})
}

// Contents with something in them that is none must not keep all nodes from the rest.
func TestStartWithBadContents(t *testing.T) {
	f, a, log := newServer(t)
	c := testContents
	c.Images = append([]Image{{Name: "no name", Version: 1, Size: 1}}, c.Images...)
	c.Exports = append([]Export{{Path: "volumes/../..", Clients: prefixes("10.77.0.0/24")}}, c.Exports...)
	if err := f.machine().keep(keptFile, c); err != nil {
		t.Fatal(err)
	}
	if code := a.Do(t.Context(), "start"); code != ocfSuccess {
		t.Fatalf("start: %d\n%s", code, log)
	}
	got := f.read(exportsFile)
	if strings.Contains(got, "no name") || strings.Contains(got, "..") || !strings.Contains(got, "images/web/7") || !strings.Contains(got, "volumes/www") {
		t.Errorf("it exports:\n%s", got)
	}
}
