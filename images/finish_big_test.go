package images

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// manyFiles makes a root of n small files in n/100 directories.
func manyFiles(tb testing.TB, tree string, n int) {
	tb.Helper()
	for i := range n {
		dir := filepath.Join(tree, fmt.Sprintf("usr/lib/%d/%d", i/10000, i/100%100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		name := filepath.Join(dir, fmt.Sprint(i))
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o644)
		if err == nil {
			_, err = unix.Write(fd, []byte(fmt.Sprint(i)))
			unix.Close(fd)
		}
		if err == nil {
			err = unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{{Sec: 5}, {Sec: 5}}, 0)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// bigRoot is a partial directory with a root that fill makes.
func bigRoot(tb testing.TB, c *Catalog, fill func(tree string)) string {
	tb.Helper()
	partial, err := c.newPartial("web")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(partial, TreeDir), 0o755); err != nil {
		tb.Fatal(err)
	}
	for _, f := range []string{KernelFile, InitrdFile} {
		if err := os.WriteFile(filepath.Join(partial, f), []byte(f), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	fill(filepath.Join(partial, TreeDir))
	return partial
}

// A root of very many small files is published and shared with bounded memory.
func TestVeryManyFiles(t *testing.T) {
	const files = 30_000
	// In memory: this is about files, not about the disk.
	dir := t.TempDir()
	if os.Getuid() == 0 {
		tool(t, "mount", "-t", "tmpfs", "tmpfs", dir)
		defer tool(t, "umount", dir)
	}
	c := &Catalog{Dir: dir}
	var before, after runtime.MemStats
	for n := range 2 {
		partial := bigRoot(t, c, func(tree string) { manyFiles(t, tree, files) })
		runtime.GC()
		runtime.ReadMemStats(&before)
		img, err := c.finish(t.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {})
		must(t, err)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if img.Files < files {
			t.Errorf("%d paths, want more than %d", img.Files, files)
		}
		if n == 1 {
			if own := diskUsage(t, filepath.Join(img.Dir, TreeDir), false); own > files*4096/50 {
				t.Errorf("the second version has %d bytes of its own", own)
			}
			if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Errorf("Verify = %v, %v", problems, err)
			}
		}
		t.Logf("version %d: %d bytes allocated", n+1, after.TotalAlloc-before.TotalAlloc)
	}
}

// A file of 5 GB that is mostly a hole is digested, compared and shared like any other,
// and without memory for its hole.
func TestAHugeSparseFile(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(tree string) {
		must(t, os.MkdirAll(filepath.Join(tree, "usr"), 0o755))
		f, err := os.Create(filepath.Join(tree, "usr/huge"))
		must(t, err)
		_, err = f.WriteAt([]byte("end"), 5<<30)
		must(t, err)
		must(t, f.Close())
		must(t, os.Chtimes(filepath.Join(tree, "usr/huge"), longAgo, longAgo))
	}
	one, two := publishNext(t, c, "web", write), publishNext(t, c, "web", write)
	if one.Size != 5<<30+3 || !stored(t, filepath.Join(one.Dir, TreeDir, "usr/huge"), filepath.Join(two.Dir, TreeDir, "usr/huge")) {
		t.Errorf("size %d, or it is stored twice", one.Size)
	}
	if own := diskUsage(t, one.Dir, true); own > 1<<20 {
		t.Errorf("the hole became %d bytes", own)
	}
}

// BenchmarkVeryManyFiles publishes 300,000 small files.
func BenchmarkVeryManyFiles(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := &Catalog{Dir: b.TempDir()}
		partial := bigRoot(b, c, func(tree string) { manyFiles(b, tree, 300_000) })
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		if _, err := c.finish(b.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "MB-allocated")
		if err := os.RemoveAll(c.Dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
