package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// operations are what may be interrupted, on a catalog that prepare made. Each may be repeated.
var operations = map[string]func(t *testing.T, c *Catalog) error{
	"publish": func(t *testing.T, c *Catalog) error {
		img, err := tryPublish(t, c, "web", crashTree(t, 4))
		if err != nil {
			return err
		}
		return c.SetCurrent(img.Ref)
	},
	"rollback": func(t *testing.T, c *Catalog) error {
		_, err := c.Rollback("web")
		return err
	},
	"remove": func(t *testing.T, c *Catalog) error {
		if err := c.Remove(Ref{"web", 2}); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	},
	"remove the last": func(t *testing.T, c *Catalog) error {
		if err := c.Remove(Ref{"mail", 1}); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	},
	"prune": func(t *testing.T, c *Catalog) error {
		_, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: func(Ref) string { return "" }})
		return err
	},
	"pack": func(t *testing.T, c *Catalog) error {
		_, err := c.Pack(t.Context(), Ref{Name: "web"})
		return err
	},
}

// crashTree has a file that every version has, and one of its own.
func crashTree(t *testing.T, n int) func(string) {
	return func(tree string) {
		putFile(t, tree, "usr/lib/shared", bigContent(1), 0o644)
		putFile(t, tree, "usr/lib/own", fmt.Sprint(n), 0o644)
		putFile(t, tree, "etc/crontab", "all", 0o644)
	}
}

// prepare makes web:1 to web:3, of which 3 is current and was 1 before, and mail:1.
func prepare(t *testing.T, dir string) *Catalog {
	t.Helper()
	key, err := LoadKey(filepath.Join(dir, "key"))
	must(t, err)
	c := &Catalog{Dir: filepath.Join(dir, "images"), Key: key}
	for n := range 3 {
		publishNext(t, c, "web", crashTree(t, n))
	}
	for _, ref := range []Ref{{"web", 2}, {"web", 1}, {"web", 3}, publishNext(t, c, "mail", nil).Ref} {
		must(t, c.SetCurrent(ref))
	}
	return c
}

// tryPublish is publishNext for what may fail.
func tryPublish(t *testing.T, c *Catalog, name string, write func(tree string)) (Image, error) {
	t.Helper()
	unlock, err := c.lock(name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	partial, err := c.newPartial(name)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(partial, TreeDir), 0o755))
	for _, f := range []string{KernelFile, InitrdFile} {
		must(t, os.WriteFile(filepath.Join(partial, f), []byte(f), 0o644))
	}
	write(filepath.Join(partial, TreeDir))
	return c.finish(t.Context(), partial, Image{Ref: Ref{Name: name}}, func(Stage, string) {})
}

// wholeAfter checks what must be true of a catalog after a crash at any time.
func wholeAfter(t *testing.T, c *Catalog, operation string) {
	t.Helper()
	check := func() []Ref {
		t.Helper()
		all, err := c.List()
		must(t, err)
		var refs []Ref
		current := map[string]bool{}
		for _, img := range all {
			refs = append(refs, img.Ref)
			current[img.Ref.Name] = current[img.Ref.Name] || img.Current
			if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 || !img.Signed {
				t.Errorf("%s: signed %t, problems %v, %v", img.Ref, img.Signed, problems, err)
			}
		}
		now, err := c.Find(Ref{Name: "web"})
		if err != nil {
			t.Fatal(err)
		}
		may := map[string][]int{"publish": {3, 4}, "rollback": {3, 1}}[operation]
		if may == nil {
			may = []int{3}
		}
		if !slices.Contains(may, now.Ref.Version) {
			t.Errorf("%s is current, want one of %v", now.Ref, may)
		}
		return refs
	}
	before := check()
	must(t, c.Clean())
	if after := check(); !slices.Equal(before, after) {
		t.Errorf("before Clean there is %v, after it %v", before, after)
	}
	for _, pattern := range []string{"*", "*/*"} {
		if left, _ := filepath.Glob(filepath.Join(c.Dir, pattern, partialPrefix+"*")); len(left) > 0 {
			t.Errorf("Clean left %q", left)
		}
	}
	// Life goes on: the operation, and a version with a number that nobody had.
	must(t, operations[operation](t, c))
	versions, err := c.versions("web")
	must(t, err)
	next := publishNext(t, c, "web", crashTree(t, 9))
	if next.Ref.Version <= slices.Max(append(versions, 3)) {
		t.Errorf("after versions %v comes %s", versions, next.Ref)
	}
	must(t, c.SetCurrent(next.Ref))
	back, err := c.Rollback("web")
	if err != nil || back.Ref == next.Ref || back.Ref.Version < 1 {
		t.Errorf("Rollback = %s, %v", back.Ref, err)
	}
}

// crashAt makes a re-executed test binary die at that crash point of an operation on a catalog in that directory.
const crashAt = "MUSTER_IMAGES_CRASH_AT"

// Whenever Muster is killed, there are only whole versions afterwards.
func TestKilledAtEveryStep(t *testing.T) {
	if plan := os.Getenv(crashAt); plan != "" {
		die(t, strings.Split(plan, "\n"))
		return
	}
	for operation := range operations {
		t.Run(operation, func(t *testing.T) {
			if operation == "pack" {
				needsPackTool(t)
			}
			for n := 1; ; n++ {
				dir := t.TempDir()
				c := prepare(t, dir)
				child := exec.Command("/proc/self/exe", "-test.run", "^TestKilledAtEveryStep$")
				child.Env = append(os.Environ(), crashAt+"="+strings.Join([]string{dir, operation, strconv.Itoa(n)}, "\n"))
				out, err := child.CombinedOutput()
				var exit *exec.ExitError
				if killed := errors.As(err, &exit) && !exit.Exited(); !killed && err != nil {
					t.Fatalf("step %d: %v: %s", n, err, out)
				}
				wholeAfter(t, c, operation)
				if t.Failed() {
					t.Fatalf("that was step %d: %s", n, out)
				}
				if err == nil {
					if n < 3 {
						t.Errorf("it has %d steps only: the test tests nothing", n-1)
					}
					return
				}
				must(t, os.RemoveAll(dir))
			}
		})
	}
}

// die runs the operation until its n-th crash point.
func die(t *testing.T, plan []string) {
	n, err := strconv.Atoi(plan[2])
	must(t, err)
	key, err := LoadKey(filepath.Join(plan[0], "key"))
	must(t, err)
	var mu sync.Mutex // files are shared by several workers
	crashPoint = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			fmt.Println(step)
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	must(t, operations[plan[1]](t, &Catalog{Dir: filepath.Join(plan[0], "images"), Key: key}))
}

func needsPackTool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(packTool); err != nil {
		t.Skipf("needs %s: %v", packTool, err)
	}
}

// Whenever the power fails, a disk that keeps what it was told to keep has only whole versions afterwards. The
// disk is a file; what is in it at a step is what the machine finds when it comes back.
func TestPowerCutAtEveryStep(t *testing.T) {
	for operation := range operations {
		t.Run(operation, func(t *testing.T) {
			if operation == "pack" {
				needsPackTool(t)
			}
			// Without commit=, the journal is written every five seconds, perhaps while the disk is copied.
			dir, disk := loopFS(t, "ext4", 48<<20, "commit=600")
			c := prepare(t, dir)
			must(t, syncFS(dir))
			var steps []string
			snapshots := t.TempDir()
			var mu sync.Mutex
			crashPoint = func(step string) {
				mu.Lock()
				defer mu.Unlock()
				steps = append(steps, step)
				copyDisk(t, disk, filepath.Join(snapshots, fmt.Sprint(len(steps))))
			}
			defer func() { crashPoint = func(string) {} }()
			must(t, operations[operation](t, c))
			crashPoint = func(string) {}
			for i, step := range steps {
				t.Run(fmt.Sprint(i+1, " ", step), func(t *testing.T) {
					file := filepath.Join(snapshots, fmt.Sprint(i+1))
					mnt := t.TempDir()
					mountLoop(t, file, mnt)
					wholeAfter(t, &Catalog{Dir: filepath.Join(mnt, "images"), Key: c.Key}, operation)
				})
			}
		})
	}
}

// copyDisk copies what is in the file, not its holes.
func copyDisk(t *testing.T, from, to string) {
	src, err := os.Open(from)
	must(t, err)
	defer src.Close()
	dst, err := os.Create(to)
	must(t, err)
	defer dst.Close()
	info, err := src.Stat()
	must(t, err)
	must(t, dst.Truncate(info.Size()))
	for at := int64(0); ; {
		begin, err := src.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return
		}
		must(t, err)
		if at, err = src.Seek(begin, unix.SEEK_HOLE); err == nil {
			_, err = io.Copy(io.NewOffsetWriter(dst, begin), io.NewSectionReader(src, begin, at-begin))
		}
		must(t, err)
	}
}
