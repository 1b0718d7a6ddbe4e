package doctor

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/images/nfs"
)

func TestExports(t *testing.T) {
	needTool(t, "ganesha.nfsd")
	needTool(t, "rpcbind")
	inNamespace(t, func() { testExports(t) })
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
