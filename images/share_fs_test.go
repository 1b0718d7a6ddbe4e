package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A file system with reflinks gets them: each file has an inode of its own, and the disk has its bytes once.
func TestReflinks(t *testing.T) {
	dir, _ := loopFS(t, "xfs", 320<<20)
	c := &Catalog{Dir: dir}
	raw := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	write := func(tree string) {
		putFile(t, tree, "usr/lib/big", bigContent(1), 0o755)
		path := filepath.Join(tree, "usr/lib/big")
		must(t, os.Lchown(path, 33, 34))
		must(t, os.Chmod(path, 0o755|os.ModeSetuid))
		must(t, unix.Lsetxattr(path, "security.capability", raw, 0))
		must(t, os.Chtimes(path, longAgo, longAgo))
		putFile(t, tree, "etc/crontab", bigContent(2), 0o644)
	}
	one, two := publishNext(t, c, "web", write), publishNext(t, c, "web", write)
	if one.Digest != two.Digest {
		t.Errorf("digests %s and %s", one.Digest, two.Digest)
	}
	if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	// What must have one name only is shared all the same.
	for _, name := range []string{"usr/lib/big", "etc/crontab"} {
		a, b := filepath.Join(one.Dir, TreeDir, name), filepath.Join(two.Dir, TreeDir, name)
		info, err := os.Stat(b)
		if err != nil || !info.ModTime().Equal(longAgo) {
			t.Errorf("%s: %v, %v", name, info.ModTime(), err)
		}
		if stored(t, a, b) {
			t.Errorf("%s is one inode", name)
		}
		if shared := sharedBytes(b); shared < info.Size() {
			t.Errorf("%d of %d bytes of %s are shared", shared, info.Size(), name)
		}
	}
	u := &usage{}
	if freed, err := u.freed(two.Dir); err != nil || freed > 100_000 {
		t.Errorf("removing %s would free %d, %v", two.Ref, freed, err)
	}
	must(t, c.Remove(one.Ref))
	// XFS lets go of what was removed a little later.
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		must(t, unix.Statfs(dir, &unix.Statfs_t{})) // pushes it
		freed, err := u.freed(two.Dir)
		must(t, err)
		if freed > 5_000_000 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("removing %s, now alone, would free %d", two.Ref, freed)
		}
	}
}

// A file that has all the links that it can have begins a new chain.
func TestTooManyLinks(t *testing.T) {
	dir, _ := loopFS(t, "ext4", 64<<20)
	c := &Catalog{Dir: dir}
	write := func(tree string) { putFile(t, tree, "usr/lib/file", "content", 0o644) }
	one := publishNext(t, c, "web", write)
	file := filepath.Join(one.Dir, TreeDir, "usr/lib/file")
	links := filepath.Join(dir, "links")
	must(t, os.Mkdir(links, 0o755))
	for i := 0; ; i++ {
		err := os.Link(file, filepath.Join(links, fmt.Sprint(i)))
		if errors.Is(err, unix.EMLINK) {
			break
		}
		must(t, err)
	}
	two := publishNext(t, c, "web", write)
	if stored(t, file, filepath.Join(two.Dir, TreeDir, "usr/lib/file")) {
		t.Error("web:2 has a link too many")
	}
	three := publishNext(t, c, "web", write)
	if !stored(t, filepath.Join(two.Dir, TreeDir, "usr/lib/file"), filepath.Join(three.Dir, TreeDir, "usr/lib/file")) {
		t.Error("web:3 does not share with web:2")
	}
	for _, img := range []Image{one, two, three} {
		if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
			t.Errorf("Verify(%s) = %v, %v", img.Ref, problems, err)
		}
	}
}

// Versions that an administrator moved to another disk are no use for sharing, and no harm.
func TestAnotherFileSystemIsNotShared(t *testing.T) {
	dir, _ := loopFS(t, "ext4", 64<<20)
	c := &Catalog{Dir: t.TempDir()}
	must(t, os.Mkdir(filepath.Join(c.Dir, "web"), 0o755))
	write := func(tree string) { putFile(t, tree, "usr/lib/file", "content", 0o644) }
	far := publishNext(t, &Catalog{Dir: dir}, "web", write)
	must(t, os.Mkdir(filepath.Join(c.Dir, "web/1"), 0o755))
	tool(t, "mount", "--bind", far.Dir, filepath.Join(c.Dir, "web/1"))
	defer tool(t, "umount", filepath.Join(c.Dir, "web/1"))
	two := publishNext(t, c, "web", write)
	if two.Ref.Version != 2 {
		t.Fatalf("published %s", two.Ref)
	}
	if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
}

// A new version with one package changed costs at most a twentieth of the disk of a full one.
func TestANewVersionCostsLittle(t *testing.T) {
	dir, _ := loopFS(t, "ext4", 2<<30)
	c := &Catalog{Dir: dir}
	free := func() int64 { return freeBytes(t, dir) }
	publish := func(changed map[int]bool) (Image, int64) {
		before := free()
		partial, err := c.newPartial("web")
		must(t, err)
		writeRoot(t, partial, changed)
		img, err := c.finish(t.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {})
		must(t, err)
		return img, before - free()
	}
	_, full := publish(nil)
	two, more := publish(map[int]bool{7: true})
	t.Logf("the first version costs %d bytes, the next %d: %.2f %%", full, more, 100*float64(more)/float64(full))
	if more*20 > full {
		t.Errorf("a new version costs %d bytes, the first %d", more, full)
	}
	if counted := diskUsage(t, two.Dir, false); counted*20 > full {
		t.Errorf("what %s has of its own is %d bytes", two.Ref, counted)
	}
	d, err := c.Diff(t.Context(), Ref{"web", 1}, two.Ref)
	if want := (shape.files + shape.packages - 1 - 7) / shape.packages; err != nil || len(d.Files) != want {
		t.Errorf("%d files differ, %v; want %d", len(d.Files), err, want)
	}
	if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
}

// freeBytes is what a file system has left, once all is written.
func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	must(t, syncFS(dir))
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Bfree) * st.Bsize
}
