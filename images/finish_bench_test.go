package images

import (
	"errors"
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
// included. What the build wrote is still in memory both times, as it is after a build; of the old version,
// that is so in "warm", and not in "cold". (The disk is a file of this machine's.)
func BenchmarkFinish(b *testing.B) {
	for _, mode := range []string{"warm", "cold"} {
		b.Run(mode, func(b *testing.B) {
			var took [2]time.Duration
			var disk [2]int64
			for b.Loop() {
				b.StopTimer()
				dir, _ := loopFS(b, "ext4", 2<<30)
				c := &Catalog{Dir: dir}
				for version, changed := range []map[int]bool{nil, {7: true}} {
					partial, err := c.newPartial("web")
					if err != nil {
						b.Fatal(err)
					}
					if version == 1 && mode == "cold" {
						forget(b, dir)
					}
					writeRoot(b, partial, changed)
					b.StartTimer()
					began := time.Now()
					img, err := c.finish(b.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {})
					if err != nil {
						b.Fatal(err)
					}
					took[version] += time.Since(began)
					b.StopTimer()
					disk[version] += diskUsage(b, img.Dir, version == 0)
				}
				b.StartTimer()
			}
			b.ReportMetric(took[0].Seconds()/float64(b.N), "s/first")
			b.ReportMetric(took[1].Seconds()/float64(b.N), "s/next")
			b.ReportMetric(100*took[1].Seconds()/took[0].Seconds(), "%time")
			b.ReportMetric(float64(disk[0])/float64(b.N)/1e6, "MB/first")
			b.ReportMetric(100*float64(disk[1])/float64(disk[0]), "%disk")
		})
	}
}

// forget drops the files below dir from memory.
func forget(tb testing.TB, dir string) {
	tb.Helper()
	err := errors.Join(syncFS(dir), filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}))
	if err != nil {
		tb.Fatal(err)
	}
}
