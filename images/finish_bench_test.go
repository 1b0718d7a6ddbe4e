package images

import (
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shape is that of a Debian root with a web server and a mail server in it, as it was built here: 11,300
// paths, 1,480 directories, 386 MB, most files below 8 KB and a few of many megabytes.
var shape = struct{ files, dirs, links, packages int }{9000, 1480, 800, 220}

// writeRoot writes a root of that shape. The files of the packages in changed have other bytes and times.
func writeRoot(tb testing.TB, partial string, changed map[int]bool) {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	dirs := []string{filepath.Join(partial, TreeDir)}
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	check(os.MkdirAll(dirs[0], 0o755))
	for i := range shape.dirs {
		dir := filepath.Join(dirs[r.IntN(min(len(dirs), 1+i/4))], fmt.Sprintf("directory-%d", i))
		check(os.Mkdir(dir, 0o755))
		dirs = append(dirs, dir)
	}
	noise := make([]byte, 32<<20)
	for i := 0; i < len(noise); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			noise[i+j] = byte(v >> (8 * j))
		}
	}
	write := func(path string, size int, seed int, other bool) {
		at := seed * 4099 % (len(noise) - size)
		b := noise[at : at+size]
		when := time.Unix(1_700_000_000+int64(seed), 0)
		if other {
			b = append([]byte{b[0] ^ 1}, b[1:]...)
			when = when.Add(time.Hour)
		}
		check(os.WriteFile(path, b, 0o644))
		check(os.Chtimes(path, when, when))
	}
	for i := range shape.files {
		// Sizes as of a root: median 4 KB, mean 40 KB.
		size := min(int(math.Exp(8.3+2.15*r.NormFloat64()))+1, 12<<20)
		write(filepath.Join(dirs[r.IntN(len(dirs))], fmt.Sprintf("file-%d", i)), size, i, changed[i%shape.packages])
	}
	for i := range shape.links {
		check(os.Symlink(fmt.Sprintf("../somewhere/file-%d", i), filepath.Join(dirs[r.IntN(len(dirs))], fmt.Sprintf("link-%d", i))))
	}
	write(filepath.Join(partial, KernelFile), 14<<20, 1, false)
	write(filepath.Join(partial, InitrdFile), 4<<20, 2, false)
}

// diskUsage is what a directory has on the disk of its own: what others have names for is not counted, unless
// all is.
func diskUsage(tb testing.TB, dir string, all bool) int64 {
	tb.Helper()
	total := int64(0)
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err == nil && !seen[st.Ino] && (all || st.Nlink == 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR) {
			total += st.Blocks * 512
		}
		seen[st.Ino] = true
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return total
}

// BenchmarkFinish publishes a first version and then one with a package changed, side by side, the disk's sync
// included: what the build wrote is still in memory both times, as it is after a build.
func BenchmarkFinish(b *testing.B) {
	var first, second, disk, full float64
	for b.Loop() {
		c := &Catalog{Dir: b.TempDir()}
		for version, changed := range []map[int]bool{nil, {7: true}} {
			b.StopTimer()
			partial, err := c.newPartial("web")
			if err != nil {
				b.Fatal(err)
			}
			if err := syncFS(c.Dir); err != nil { // the neighbours' bytes
				b.Fatal(err)
			}
			writeRoot(b, partial, changed)
			b.StartTimer()
			began := time.Now()
			img, err := c.finish(b.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {})
			if err != nil {
				b.Fatal(err)
			}
			took := time.Since(began).Seconds()
			if version == 0 {
				first += took
				full += float64(diskUsage(b, img.Dir, true))
			} else {
				second += took
				disk += float64(diskUsage(b, img.Dir, false))
			}
		}
		b.StopTimer()
		if err := os.RemoveAll(c.Dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	n := float64(b.N) // rounds
	b.ReportMetric(first/n, "s/first")
	b.ReportMetric(second/n, "s/next")
	b.ReportMetric(100*second/first, "%time")
	b.ReportMetric(full/n/1e6, "MB/first")
	b.ReportMetric(100*disk/full, "%disk")
}
