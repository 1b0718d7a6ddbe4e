package doctor

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and mounts")
	}
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s: run make setup", name)
	}
}

// want is a finding by its status and parts of its texts.
type want struct {
	check       string
	status      Status
	detail, fix string
}

func compare(t *testing.T, got []Finding, wants ...want) {
	t.Helper()
	if len(got) != len(wants) {
		t.Errorf("got %d findings, want %d: %+v", len(got), len(wants), got)
		return
	}
	for i, w := range wants {
		g := got[i]
		if g.Check != w.check || g.Status != w.status || !strings.Contains(g.Detail, w.detail) || !strings.Contains(g.Fix, w.fix) {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
		if g.Status == Fail && g.Fix == "" {
			t.Errorf("%s: fails without saying what to do: %s", g.Check, g.Detail)
		}
	}
}

// inside is set in the copy of a test that runs in namespaces of its own.
const inside = "MUSTER_TEST_NAMESPACE"

// inNamespace runs the whole test again, in a copy of this process in a network and a mount namespace of its
// own, which end with it; there it calls fn. An NFS server wants rpcbind, whose port and socket it could not
// share with another test. There are veth pairs eth1 (10.77.0.1/24, up) to eth1p (10.77.0.9/24, up), eth2
// (down) and eth3 (up, no address), and an empty /run.
func inNamespace(t *testing.T, fn func()) {
	t.Helper()
	needRoot(t)
	if os.Getenv(inside) != "" {
		if err := errors.Join(unix.Mount("muster-test", "/run", "tmpfs", 0, ""), links()); err != nil {
			t.Fatal(err)
		}
		fn()
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
}

func links() error {
	for _, n := range []string{"eth1", "eth2", "eth3"} {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: n}, PeerName: n + "p"}); err != nil {
			return err
		}
	}
	var errs []error
	for _, n := range []string{"lo", "eth1", "eth1p", "eth3", "eth3p"} {
		l, err := netlink.LinkByName(n)
		if err != nil {
			return err
		}
		errs = append(errs, netlink.LinkSetUp(l))
		if a := map[string]string{"eth1": "10.77.0.1/24", "eth1p": "10.77.0.9/24"}[n]; a != "" {
			addr, err := netlink.ParseAddr(a)
			errs = append(errs, err, netlink.AddrAdd(l, addr))
		}
	}
	return errors.Join(errs...)
}
