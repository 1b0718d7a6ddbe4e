package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs the test's goroutine in a network of its own, with one interface: rack0, 10.77.0.1/24.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	// The thread is never unlocked: it ends with its goroutine, and the namespace with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "rack0"}, PeerName: "switch0"}
	addr, err := netlink.ParseAddr("10.77.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.LinkAdd(link), netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSetup writes a configuration that check accepts, tells why, and replaces it only by force.
func TestSetup(t *testing.T) {
	inNamespace(t)
	file := filepath.Join(t.TempDir(), "etc", "muster.yaml")
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"setup --interface rack0", 0, "subnet 10.77.0.0/24: rack0 has the address 10.77.0.1\n"},
		{"check", 0, "subnet 10.77.0.0/24, range 10.77.0."},
		{"setup -i rack0", 6, ""},
		{"setup -i rack0 --force", 0, "written to " + file + "; next: muster serve\n"},
		{"setup -i rack1", 3, ""},
	} {
		p, out, errs := newProgram()
		code := p.run(t.Context(), append([]string{"--config", file}, strings.Fields(tt.args)...))
		if code != tt.code || !strings.Contains(out.String(), tt.want) || (errs.Len() > 0) != (code != 0) {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}
