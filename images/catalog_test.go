package images

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindTellsHowToBuildWhatIsMissing(t *testing.T) {
	c, _ := published(t, nil)
	for _, ref := range []Ref{{"mail", 0}, {"mail", 3}, {"web", 0}, {"web", 9}} {
		_, err := c.Find(ref)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "muster image build "+ref.Name) {
			t.Errorf("Find(%s) = %v", ref, err)
		}
	}
	if _, err := c.Find(Ref{"../web", 1}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Find(../web) = %v, want ErrInvalid", err)
	}
}

func TestCurrentFollowsSetCurrent(t *testing.T) {
	c, one := published(t, nil)
	two := publishNext(t, c, "web", nil)
	for _, want := range []Ref{one.Ref, two.Ref, one.Ref} {
		must(t, c.SetCurrent(want))
		got, err := c.Find(Ref{Name: "web"})
		if err != nil || got.Ref != want || !got.Current {
			t.Fatalf("Find(web) = %+v, %v; want %s", got, err, want)
		}
	}
	if err := c.SetCurrent(Ref{"web", 9}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SetCurrent(web:9) = %v, want ErrNotExist", err)
	}
	if err := c.SetCurrent(Ref{"web", 0}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("SetCurrent(web) = %v, want ErrInvalid", err)
	}
	all, err := c.List()
	if err != nil || len(all) != 2 || !all[0].Current || all[1].Current || all[1].Ref != two.Ref {
		t.Errorf("List = %+v, %v", all, err)
	}
}

// While current is switched to and fro, a reader always finds one.
func TestCurrentIsNeverAbsent(t *testing.T) {
	c, one := published(t, nil)
	two := publishNext(t, c, "web", nil)
	must(t, c.SetCurrent(one.Ref))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			if err := c.SetCurrent([]Ref{one.Ref, two.Ref}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 400 {
		if _, err := c.Find(Ref{Name: "web"}); err != nil {
			t.Error(err)
			break
		}
	}
	wg.Wait()
}

func TestAVersionNumberIsNeverUsedAgain(t *testing.T) {
	c, _ := published(t, nil)
	two := publishNext(t, c, "web", nil)
	must(t, c.Remove(two.Ref))
	if three := publishNext(t, c, "web", nil); three.Ref.Version != 3 {
		t.Errorf("after the removal of 2 comes %d, want 3", three.Ref.Version)
	}
	// A counter that was lost with the disk's last second does not go below what is there.
	must(t, os.Remove(filepath.Join(c.Dir, "web", counterFile)))
	if four := publishNext(t, c, "web", nil); four.Ref.Version != 4 {
		t.Errorf("without a counter comes %d, want 4", four.Ref.Version)
	}
}

func TestRemove(t *testing.T) {
	c, one := published(t, nil)
	two := publishNext(t, c, "web", nil)
	must(t, c.SetCurrent(one.Ref))
	if err := c.Remove(one.Ref); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Remove(current) = %v, want ErrPermission", err)
	}
	must(t, c.Remove(two.Ref))
	if err := c.Remove(two.Ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second Remove = %v, want ErrNotExist", err)
	}
	must(t, c.Remove(one.Ref)) // the last one
	if all, err := c.List(); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v", all, err)
	}
}

func TestOpenGivesBootFilesOnly(t *testing.T) {
	c, img := published(t, func(tree string) {
		must(t, os.WriteFile(filepath.Join(tree, "secret"), []byte("x"), 0o600))
	})
	f, err := c.Open(img.Ref, KernelFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, _ := io.ReadAll(f); string(b) != "kernel" {
		t.Errorf("kernel = %q", b)
	}
	for _, name := range []string{"", ".", "..", "manifest", "image.json", "tree/secret", "../1/vmlinuz", "./vmlinuz", "/etc/passwd", "vmlinuz\x00"} {
		if _, err := c.Open(img.Ref, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q) = %v, want ErrNotExist", name, err)
		}
	}
	// A link that leads out of the version, however it came there.
	must(t, os.Remove(filepath.Join(img.Dir, InitrdFile)))
	must(t, os.Symlink("/etc/passwd", filepath.Join(img.Dir, InitrdFile)))
	if f, err := c.Open(img.Ref, InitrdFile); err == nil {
		f.Close()
		t.Error("Open followed a link out of the version's directory")
	}
}

func TestCleanRemovesWhatACrashLeft(t *testing.T) {
	c, img := published(t, nil)
	left := filepath.Join(c.Dir, "web", partialPrefix+"2")
	must(t, os.MkdirAll(filepath.Join(left, TreeDir, "etc"), 0o755))
	unlock, err := c.lock("web")
	must(t, err)
	must(t, c.Clean())
	if _, err := os.Stat(left); err != nil {
		t.Error("Clean removed a build that goes on")
	}
	unlock()
	must(t, c.Clean())
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Clean left %s: %v", left, err)
	}
	if _, err := c.Find(img.Ref); err != nil {
		t.Error(err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	unlock, err := c.lock("web")
	must(t, err)
	if _, err := c.lock("web"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second lock = %v, want ErrExist", err)
	}
	other, err := c.lock("ntp")
	must(t, err)
	other()
	unlock()
	again, err := c.lock("web")
	must(t, err)
	again()
}

func TestSpace(t *testing.T) {
	must(t, space(t.TempDir(), 1))
	if err := space(t.TempDir(), 1<<62); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("space = %v, want ENOSPC", err)
	}
}
