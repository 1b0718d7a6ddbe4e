package nfs

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorder notes the commands that Kernel runs.
type recorder struct {
	mu    sync.Mutex
	ran   []string
	first chan struct{} // closed by the first exportfs
}

func (r *recorder) run(_ context.Context, argv ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran = append(r.ran, strings.Join(argv, " "))
	if argv[0] == "exportfs" && r.first != nil {
		close(r.first)
		r.first = nil
	}
	return nil
}

// take gives what was run since the last take.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.ran = nil }()
	return r.ran
}

// unusedPort is one that nobody listens on.
func unusedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestKernelExportArgs(t *testing.T) {
	want := [][]string{
		{"-o", "ro,no_root_squash,no_subtree_check,fsid=" + strconvID(ids(sample())["/data/images"]), "10.77.1.0/24:/data/images"},
		{"-o", "ro,no_root_squash,no_subtree_check,fsid=" + strconvID(ids(sample())["/data/images"]), "10.77.0.0/24:/data/images"},
		{"-o", "rw,no_root_squash,no_subtree_check,fsid=" + strconvID(ids(sample())["/data/state"]) + ",sync", "10.77.1.0/24:/data/state"},
	}
	if d := cmp.Diff(want, exportArgs(sample())); d != "" {
		t.Error(d)
	}
}

func strconvID(n uint16) string { return strconv.Itoa(int(n)) }

func TestKernelStartsChangesAndStops(t *testing.T) {
	dir := t.TempDir()
	r := &recorder{first: make(chan struct{})}
	first := r.first
	k := &Kernel{Port: unusedPort(t), MountPort: 20048, Run: r.run}
	one := Export{Path: dir, ReadOnly: true, Clients: rack[:1]}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := k.Set(ctx, []Export{one}); err != nil {
		t.Fatal(err)
	}
	if ran := r.take(); len(ran) > 0 {
		t.Errorf("before Serve it ran %q", ran)
	}
	done := make(chan error, 1)
	go func() { done <- k.Serve(ctx) }() // ends with ctx
	<-first
	if ran := r.take(); len(ran) != 3 || !strings.HasPrefix(ran[0], "rpc.mountd --port 20048") || !strings.HasPrefix(ran[1], "rpc.nfsd") || !strings.Contains(ran[2], "10.77.1.0/24:"+dir) {
		t.Errorf("Serve ran %q", ran)
	}
	if err := k.Set(ctx, []Export{one}); err != nil {
		t.Fatal(err)
	}
	if ran := r.take(); len(ran) > 0 {
		t.Errorf("setting the same ran %q", ran)
	}
	one.ReadOnly = false
	one.Clients = rack
	if err := k.Set(ctx, []Export{one}); err != nil {
		t.Fatal(err)
	}
	if ran := r.take(); len(ran) != 2 || slices.ContainsFunc(ran, func(s string) bool { return strings.Contains(s, " -u ") }) {
		t.Errorf("a changed export and a new client ran %q, want two exportfs -o", ran)
	}
	one.Clients = rack[1:]
	if err := k.Set(ctx, []Export{one}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"exportfs -u 10.77.1.0/24:" + dir}, r.take()); d != "" {
		t.Error(d)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if d := cmp.Diff([]string{"exportfs -u 10.77.0.0/24:" + dir, "rpc.nfsd 0"}, r.take()); d != "" {
		t.Error(d)
	}
}

func TestKernelHasNFS(t *testing.T) {
	if !kernelHasNFS("nodev\tproc\nnodev\tnfsd\n") || kernelHasNFS("nodev\tnfs\n\text4\n") || kernelHasNFS("") {
		t.Error("nfsd is not told from other file systems")
	}
}

func TestKernelRefusesWhatIsMissing(t *testing.T) {
	k := &Kernel{Run: func(context.Context, ...string) error { return errors.New("ran") }}
	if err := k.Set(t.Context(), []Export{{Path: filepath.Join(t.TempDir(), "none")}}); err == nil {
		t.Error("Set took a directory that is missing")
	}
}
