package nfs

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rack = []netip.Prefix{netip.MustParsePrefix("10.77.1.0/24"), netip.MustParsePrefix("10.77.0.0/24")}

func sample() []Export {
	return []Export{
		{Path: "/data/images", ReadOnly: true, NoRootSquash: true, Clients: rack},
		{Path: "/data/state", NoRootSquash: true, Clients: rack[:1]},
		{Path: "/data/closed"},
	}
}

func TestIDsDependOnThePathsOnly(t *testing.T) {
	all := sample()
	before := ids(all)
	all[0], all[2] = all[2], all[0]
	if d := cmp.Diff(before, ids(all)); d != "" {
		t.Errorf("another order gives other ids: %s", d)
	}
	if d := cmp.Diff(before["/data/state"], ids(all[1:2])["/data/state"]); d != "" {
		t.Errorf("fewer exports give another id: %s", d)
	}
	seen := map[uint16]bool{}
	var many []Export
	for i := range 2000 {
		many = append(many, Export{Path: "/e/" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + strings.Repeat("y", i/50)})
	}
	for path, id := range ids(many) {
		if id == 0 || seen[id] {
			t.Fatalf("%s has id %d, which is 0 or taken", path, id)
		}
		seen[id] = true
	}
}

func TestCoveringTakesTheDeepest(t *testing.T) {
	all := []Export{{Path: "/a"}, {Path: "/a/b"}}
	for path, want := range map[string]string{"/a": "/a", "/a/c": "/a", "/a/b": "/a/b", "/a/b/": "/a/b", "/a/b/c": "/a/b", "/a/bc": "/a", "/a/b/../c": "/a"} {
		if e, err := covering(all, path); err != nil || e.Path != want {
			t.Errorf("covering(%s) = %s, %v; want %s", path, e.Path, err, want)
		}
	}
	for _, path := range []string{"/", "/ab", "/a/../etc", ""} {
		if _, err := covering(all, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("covering(%q) = %v, want ErrNotExist", path, err)
		}
	}
}

func TestEveryFaultIsTold(t *testing.T) {
	err := check([]Export{
		{Path: "relative"}, {Path: "/a/../b"}, {Path: "/"}, {Path: "/with space"}, {Path: "/twice"}, {Path: "/twice"},
		{Path: "/net", Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}, {Path: "/fine"},
	})
	if !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("check = %v, want ErrInvalid", err)
	}
	for _, part := range []string{`"relative"`, `"/a/../b"`, `"/"`, `"/with space"`, `"/twice": is listed twice`, "10.0.0.1/8"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it does not tell %s:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "/fine") {
		t.Errorf("it tells what is right:\n%v", err)
	}
}

func TestGaneshaConfig(t *testing.T) {
	g := &Ganesha{Dir: "/run/muster/nfs", Port: 12049, plugin: "/usr/lib/ganesha/libfsalvfs.so"}
	golden := filepath.Join("testdata", "ganesha.conf")
	got := g.config(sample())
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func TestGaneshaMissingIsOneSentence(t *testing.T) {
	g := &Ganesha{Dir: t.TempDir(), Program: "no-such-ganesha"}
	err := g.Serve(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "apt-get install nfs-ganesha nfs-ganesha-vfs (make setup does)") {
		t.Errorf("Serve = %v", err)
	}
}

func TestATakenPortIsOneSentence(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = free(l.Addr().(*net.TCPAddr).Port)
	if err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("free = %v", err)
	}
}

func TestExternalMapsPrefixes(t *testing.T) {
	filer := netip.MustParseAddr("10.0.0.9")
	x := &External{Server: filer, Port: 12049, Prefixes: map[string]string{"/data": "/vol1/muster", "/data/state": "/vol2/state"}}
	if err := x.Set(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/data/images/web/7/tree": "/vol1/muster/images/web/7/tree", "/data/state": "/vol2/state",
		"/data/state/web-01": "/vol2/state/web-01",
	} {
		m, err := x.Mount(path)
		options := "noacl"
		if strings.HasPrefix(path, "/data/images") {
			options = "" // read-only, below an overlay
		}
		if d := cmp.Diff(Mount{filer, want, 12049, MountPort, options}, m, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || d != "" {
			t.Errorf("Mount(%s): %v %s", path, err, d)
		}
	}
	if _, err := x.Mount("/etc"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Mount(/etc) = %v, want ErrNotExist", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Serve(ctx); err != nil {
		t.Errorf("Serve = %v", err)
	}
	x.Prefixes["relative"] = "/x"
	if err := x.Serve(ctx); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Serve with a relative prefix = %v, want ErrInvalid", err)
	}
}
