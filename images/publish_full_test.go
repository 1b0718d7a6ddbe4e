package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk that is full, or becomes so in the middle, publishing fails with a clear error and leaves what was
// there; once there is space, it goes on.
func TestPublishOnAFullDisk(t *testing.T) {
	dir, _ := loopFS(t, "ext4", 24<<20)
	key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	c := &Catalog{Dir: dir, Key: key}
	write := func(n int) func(string) {
		return func(tree string) {
			for i := range 200 {
				putFile(t, tree, fmt.Sprintf("usr/lib/d%d/f%d", i%20, i), fmt.Sprint(n, i), 0o644)
			}
		}
	}
	one := publishNext(t, c, "web", write(0))
	must(t, c.SetCurrent(one.Ref))
	filler := filepath.Join(dir, "filler")
	failed, succeeded := 0, 0
	for left := int64(0); left <= 96<<10; left += 8 << 10 {
		partial, err := c.newPartial("web")
		must(t, err)
		write(1 + int(left>>10))(filepath.Join(partial, TreeDir))
		for _, f := range []string{KernelFile, InitrdFile} {
			must(t, os.WriteFile(filepath.Join(partial, f), []byte("x"), 0o644))
		}
		fill(t, filler, left)
		before, err := c.List()
		must(t, err)
		img, err := c.finish(t.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {})
		if err == nil {
			succeeded++
			// There may be no room for the way back, and then current is what it was.
			if err := c.SetCurrent(img.Ref); err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%d bytes left: SetCurrent: %v", left, err)
			}
			if now, err := c.Find(Ref{Name: "web"}); err != nil || now.Ref != img.Ref && now.Ref != one.Ref {
				t.Errorf("%d bytes left: current is %s, %v", left, now.Ref, err)
			}
			if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Errorf("%d bytes left: Verify = %v, %v", left, problems, err)
			}
			must(t, os.Remove(filler))
			must(t, c.SetCurrent(one.Ref))
			must(t, c.Remove(img.Ref))
			continue
		}
		failed++
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d bytes left: %v, want ENOSPC", left, err)
		}
		if after, err := c.List(); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%d bytes left: there was %v, there is %v, %v", left, before, after, err)
		}
		if now, err := c.Find(Ref{Name: "web"}); err != nil || now.Ref != one.Ref {
			t.Errorf("%d bytes left: current is %s, %v", left, now.Ref, err)
		}
		must(t, os.Remove(filler))
		must(t, c.Clean())
	}
	if failed < 3 || succeeded < 3 {
		t.Errorf("%d failed, %d succeeded: the test tests nothing", failed, succeeded)
	}
	next := publishNext(t, c, "web", write(7))
	if problems, err := c.Verify(t.Context(), next.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
}

// fill leaves about left bytes free.
func fill(t *testing.T, file string, left int64) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	must(t, syncFS(filepath.Dir(file)))
	var st unix.Statfs_t
	must(t, unix.Statfs(filepath.Dir(file), &st))
	n := (int64(st.Bavail)*st.Bsize - left) &^ 4095
	for n > 0 && errors.Is(unix.Fallocate(int(f.Fd()), 0, 0, n), unix.ENOSPC) {
		n -= 4096 // the file's own extents need a block, too
	}
	must(t, f.Sync())
}
