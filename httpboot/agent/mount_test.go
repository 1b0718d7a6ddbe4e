package agent

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestNFSArgs(t *testing.T) {
	server := netip.MustParseAddr("10.77.0.1")
	for _, tc := range []struct {
		m      Mount
		source string
		data   string
		flags  uintptr
	}{
		{Mount{Server: server, Path: "/t", ReadOnly: true}, "10.77.0.1:/t",
			"vers=3,proto=tcp,sec=sys,hard,addr=10.77.0.1,port=2049,nolock,mountaddr=10.77.0.1,mountport=2049,mountvers=3,mountproto=tcp,ro", unix.MS_RDONLY},
		{Mount{Server: server, Path: "/s", Port: 2050, MountPort: 20048, Options: "actimeo=3600"}, "10.77.0.1:/s",
			"vers=3,proto=tcp,sec=sys,hard,addr=10.77.0.1,port=2050,nolock,mountaddr=10.77.0.1,mountport=20048,mountvers=3,mountproto=tcp,actimeo=3600", 0},
		{Mount{Version: "4.2", Server: server, Path: "/t", Port: 2049, MountPort: 20048}, "10.77.0.1:/t",
			"vers=4.2,proto=tcp,sec=sys,hard,addr=10.77.0.1,port=2049,clientaddr=10.77.0.20", 0},
	} {
		source, data, flags := nfsArgs(tc.m, netip.MustParseAddr("10.77.0.20"))
		if source != tc.source || data != tc.data || flags != tc.flags {
			t.Errorf("%+v: %q %q %d", tc.m, source, data, flags)
		}
	}
}

// slowKernel takes its time to mount.
type slowKernel struct{ fakeKernel }

func (k *slowKernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	time.Sleep(5 * time.Minute)
	return k.fakeKernel.Mount(source, target, fstype, flags, data)
}

// A mount that hangs says so: on the screen again and again, to the server once.
func TestSlowMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, scr := newAgent(t.TempDir(), &fakeKernel{}, nil)
		a.System = &slowKernel{}
		a.events = newReporter(nil, Params{}, a.Console.Say, a.uptime)
		if err := a.mountNFS(t.Context(), webSpec().Root, "/x"); err != nil {
			t.Fatal(err)
		}
		const text = "still mounting 10.77.0.1:/images/web/7/tree: does the NFS server 10.77.0.1 answer?"
		if n := strings.Count(scr.String(), text); n < 4 || n > 6 {
			t.Errorf("shown %d times in five minutes", n)
		}
		if q, _ := a.events.pending(); len(q) != 1 || q[0].Step != "root" || q[0].Error != text {
			t.Errorf("events are %+v", q)
		}
	})
}

func TestSpecCheck(t *testing.T) {
	if err := webSpec().check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Spec){
		`hostname "web.03"`:            func(s *Spec) { s.Hostname = "web.03" },
		`hostname ""`:                  func(s *Spec) { s.Hostname = "" },
		`hostname "-a"`:                func(s *Spec) { s.Hostname = "-a" },
		`domain "a..b"`:                func(s *Spec) { s.Domain = "a..b" },
		`domain "a\nb"`:                func(s *Spec) { s.Domain = "a\nb" },
		"address":                      func(s *Spec) { s.Address = netip.Prefix{} },
		`gateway "fe80::1"`:            func(s *Spec) { s.Gateway = netip.MustParseAddr("fe80::1") },
		`init "sbin/init"`:             func(s *Spec) { s.Init = "sbin/init" },
		`mount type "ext4"`:            func(s *Spec) { s.Root.Type = "ext4" },
		"mount server":                 func(s *Spec) { s.Root.Server = netip.Addr{} },
		`mount path "x"`:               func(s *Spec) { s.Root.Path = "x" },
		"mount ports 70000 and 0":      func(s *Spec) { s.Root.Port = 70000 },
		`mount target ""`:              func(s *Spec) { s.Mounts[0].Target = "" },
		`mount target "/"`:             func(s *Spec) { s.Mounts[0].Target = "/" },
		`file "/etc/../../etc/shadow"`: func(s *Spec) { s.Files[0].Path = "/etc/../../etc/shadow" },
		`file "/a\x00b"`:               func(s *Spec) { s.Files[0].Path = "/a\x00b" },
	} {
		s := webSpec()
		spoil(s)
		if err := s.check(); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	s := Spec{Mounts: []Mount{{}}, Files: []File{{}}}
	if err := s.check(); strings.Count(err.Error(), "\n") < 4 {
		t.Errorf("not every fault is reported: %v", err)
	}
}

// While a machine waits for its link, the modules of its root go in; one that has nothing to wait for loads them
// when they are needed.
func TestPreload(t *testing.T) {
	for name, late := range map[string]bool{"late link": true, "link at once": false} {
		synctest.Test(t, func(t *testing.T) {
			root, k := machineTree(t), &fakeKernel{}
			write(t, root, map[string]string{
				"lib/modules/6.1.0-test/modules.dep": "nfs.ko:\nnfsv3.ko: nfs.ko\noverlay.ko:\n",
				"lib/modules/6.1.0-test/nfs.ko":      "", "lib/modules/6.1.0-test/nfsv3.ko": "", "lib/modules/6.1.0-test/overlay.ko": "",
			})
			if late {
				write(t, root, map[string]string{"sys/class/net/eth0/carrier": "0"})
				time.AfterFunc(time.Second, func() { write(t, root, map[string]string{"sys/class/net/eth0/carrier": "1"}) })
			}
			spec := webSpec()
			spec.Address = netip.MustParsePrefix("10.77.0.100/24") // no probe
			a, _ := newAgent(root, k, servers{"one": &fakeDirector{t: t, replies: []Reply{{Spec: spec}}}})
			if err := a.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := strings.Fields(strings.ReplaceAll(k.calls("module", "address"), "module ", ""))
			if first := got[0] == "nfs"; first != late || !slices.Contains(got, "overlay") || len(got) != 3+3 {
				t.Errorf("%s: done %q", name, got)
			}
		})
	}
}

// A root whose files nobody but root may open is one sentence in the timeline, and no hundred failures of the
// image's services; once its server is mended, the boot goes on.
func TestRootOfRootAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := machineTree(t)
		denied := &os.PathError{Op: "open", Path: "/sbin/init", Err: unix.EOPNOTSUPP}
		k := &fakeKernel{fail: map[string][]error{"as 65534": {denied, denied}}}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}}
		a, scr := newAgent(root, k, servers{"one": d})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.wantSteps("hello", "network", "root!", "root!", "root", "mount", "files", "switch-root")
		const why = "web:7 from 10.77.0.1:/images/web/7/tree: only root may open its files, as the NFS server gives no ACLs"
		if e := d.events[2].Error; !strings.HasPrefix(e, why) || strings.Contains(e, "\n") {
			t.Errorf("the event says %q", e)
		}
		scr.shows(t, why)
		undone := strings.ReplaceAll(k.calls("unmount"), root, "ROOT")
		if once := "unmount ROOT/sysroot\nunmount ROOT/rw\nunmount ROOT/ro"; undone != once+"\n"+once {
			t.Errorf("undone:\n%s", undone)
		}
	})
}

// What else a user may not do with an image's init is no matter of ACLs.
func TestRootOpenToAll(t *testing.T) {
	a, _ := newAgent(machineTree(t), &fakeKernel{}, nil)
	other := webSpec()
	other.Init = "/not/there"
	for _, s := range []*Spec{webSpec(), other} {
		if err := a.openToAll(s); err != nil {
			t.Errorf("%s: %v", s.init(), err)
		}
	}
	a.System = &fakeKernel{fail: map[string][]error{"as": {fs.ErrPermission, unix.EOPNOTSUPP}}}
	if err := a.openToAll(webSpec()); err != nil {
		t.Error(err)
	}
	other.RAM = &RAMRoot{} // nothing of it is on NFS
	if err := a.openToAll(other); err != nil {
		t.Error(err)
	}
}
