package tftpd

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the deadline of whatever must happen; only a failing test waits for it.
const patience = 30 * time.Second

// content makes n bytes that differ at every place, the same ones in every run.
func content(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// files makes an FS of whole files.
func files(m map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, b := range m {
		fsys[name] = &fstest.MapFile{Data: b, Mode: 0o444}
	}
	return fsys
}

// ends collects the transfers that ended.
type ends chan Transfer

// next waits for the next one.
func (e ends) next(t *testing.T) Transfer {
	t.Helper()
	select {
	case tr := <-e:
		return tr
	case <-time.After(patience):
		t.Fatal("no transfer ended")
		return Transfer{}
	}
}

// start serves srv on a port of loopback until the test ends. It reports every end of a transfer.
func start(t testing.TB, srv *Server, addr string) (netip.AddrPort, ends) {
	t.Helper()
	conn, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, srv, conn)
}

// startOn serves srv on conn.
func startOn(t testing.TB, srv *Server, conn *UDP) (netip.AddrPort, ends) {
	t.Helper()
	e := make(ends, 10_000)
	if srv.Observe == nil {
		srv.Observe = func(tr Transfer) { e <- tr }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v, want nil on a clean stop", err)
		}
	})
	return conn.Addr(), e
}

// broken is an FS whose files cannot be opened, for one reason.
type broken struct{ err error }

func (b broken) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: b.err}
}

// equal compares files without printing them.
func equal(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; first difference at %d", len(got), len(want), difference(got, want))
	}
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
