package doctor

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
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

// inNamespace calls fn on a thread in a network namespace of its own, which ends with it: veth pairs eth1
// (10.77.0.1/24, up) to eth1p (10.77.0.9/24, up), eth2 (down), eth3 (up, no address).
func inNamespace(t *testing.T, fn func()) {
	t.Helper()
	needRoot(t)
	done := make(chan error)
	go func() { // ends with fn; its thread is not unlocked, so that the runtime throws it away
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = links()
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
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
