package doctor

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"muster/images/nfs"
)

// inside is set in the copy of the test that runs in a network and a mount namespace of its own: an NFS server
// wants rpcbind, whose port and socket it could not share with another test.
const inside = "MUSTER_TEST_NAMESPACE"

func TestExports(t *testing.T) {
	needRoot(t)
	needTool(t, "ganesha.nfsd")
	needTool(t, "rpcbind")
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestExports$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestExports") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("muster-test", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	testExports(t)
}

func testExports(t *testing.T) {
	dir := t.TempDir()
	var open, closed = filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for _, d := range []string{open, closed} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	local := netip.MustParseAddr("127.0.0.1")
	e := &Env{Exports: []Export{{Server: local, Path: open}, {Server: local, Path: closed}, {Server: local, Path: "/other"}}}
	compare(t, checkExports(t.Context(), e),
		want{"nfs", Fail, "mountd: dial tcp", "NFS server running"},
		want{"nfs", Fail, "connection refused", "NFS server running"},
		want{"nfs", Fail, "connection refused", "NFS server running"})

	ganesha := &nfs.Ganesha{Dir: filepath.Join(dir, "ganesha")}
	err := ganesha.Set(t.Context(), []nfs.Export{
		{Path: open, ReadOnly: true, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		{Path: closed, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- ganesha.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	wait, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if err := ganesha.Ready(wait); err != nil {
		t.Fatal(err)
	}
	compare(t, checkExports(t.Context(), e),
		want{"nfs", OK, "127.0.0.1:" + open + " can be mounted", ""},
		want{"nfs", Fail, "permission denied", "its clients"},
		want{"nfs", Fail, "/other cannot be mounted: permission denied", "exported"})
}
