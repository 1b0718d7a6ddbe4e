package images

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testCache makes packages of 100 bytes that were used so many days ago.
func testCache(t *testing.T, now time.Time, days map[string]int) string {
	t.Helper()
	dir := t.TempDir()
	for name, d := range days {
		at := now.AddDate(0, 0, -d)
		must(t, os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o644))
		must(t, os.Chtimes(filepath.Join(dir, name), at, at))
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return all
}

func TestPruneCache(t *testing.T) {
	now := time.Now()
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		age  time.Duration
		size int64
		want []string
	}{
		"enough room":          {100 * day, 1000, []string{"a", "b", "c", "d"}},
		"by age":               {15 * day, 1000, []string{"a", "b"}},
		"by size":              {100 * day, 350, []string{"a", "b", "c"}},
		"the build's own stay": {0, 0, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testCache(t, now, map[string]int{"a": 0, "b": 10, "c": 20, "d": 30})
			must(t, pruneCache(dir, test.age, test.size, now, now.Add(-time.Hour)))
			if d := cmp.Diff(test.want, names(t, dir)); d != "" {
				t.Error(d)
			}
		})
	}
}

// A package counts as used when it is installed, not when it only lay in the cache.
func TestKeepPackages(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	cache := testCache(t, now, map[string]int{"used_1%3a2_amd64.deb": 50, "unused_1_all.deb": 50})
	tree := t.TempDir()
	archives := filepath.Join(tree, "var/cache/apt/archives")
	must(t, os.MkdirAll(archives, 0o755))
	must(t, os.MkdirAll(filepath.Join(tree, "var/lib/dpkg"), 0o755))
	for _, name := range names(t, cache) {
		must(t, os.Link(filepath.Join(cache, name), filepath.Join(archives, name)))
	}
	must(t, os.WriteFile(filepath.Join(archives, "fetched_1_all.deb"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(tree, "var/lib/dpkg/status"), []byte("Package: used\nStatus: install ok installed\nArchitecture: amd64\nDescription: x\n Package: unused\nVersion: 1:2\n\n"), 0o644))
	must(t, keepPackages(tree, cache, now))
	if left := names(t, archives); len(left) > 0 {
		t.Errorf("left in the tree: %q", left)
	}
	for name, fresh := range map[string]bool{"used_1%3a2_amd64.deb": true, "unused_1_all.deb": false, "fetched_1_all.deb": true} {
		info, err := os.Stat(filepath.Join(cache, name))
		if err != nil || info.ModTime().Equal(now) != fresh {
			t.Errorf("%s: used now: %t, %v; want %t", name, !fresh, err, fresh)
		}
	}
	if err := keepPackages(t.TempDir(), cache, now); err != nil {
		t.Errorf("of an empty tree: %v", err)
	}
}

func TestCopyWhole(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "cache/to")
	must(t, os.WriteFile(from, []byte("deb"), 0o600))
	if err := copyWhole(from, to); err == nil {
		t.Error("into no directory: no error")
	}
	must(t, os.Mkdir(filepath.Dir(to), 0o755))
	must(t, copyWhole(from, to))
	if b, err := os.ReadFile(to); err != nil || string(b) != "deb" || len(names(t, filepath.Dir(to))) != 1 {
		t.Errorf("the copy is %q, %v, beside %q", b, err, names(t, filepath.Dir(to)))
	}
}
