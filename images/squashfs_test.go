package images

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// packable is a catalog with a key and a version whose root has what roots have.
func packable(t *testing.T) (*Catalog, Image) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: owners, devices and capabilities in a squashfs")
	}
	needsPackTool(t)
	key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	c := &Catalog{Dir: t.TempDir(), Key: key}
	return c, publishNext(t, c, "web", packTree(t))
}

func packTree(t *testing.T) func(string) {
	raw := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return func(tree string) {
		oddTree(t)(tree)
		putFile(t, tree, "usr/lib/big", bigContent(1), 0o644)
		putFile(t, tree, "usr/bin/ping", "ping", 0o755)
		must(t, os.Lchown(filepath.Join(tree, "usr/bin/ping"), 7, 8))
		must(t, os.Chmod(filepath.Join(tree, "usr/bin/ping"), 0o755|os.ModeSetuid|os.ModeSetgid))
		must(t, unix.Lsetxattr(filepath.Join(tree, "usr/bin/ping"), "security.capability", raw, 0))
		must(t, unix.Mknod(filepath.Join(tree, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Link(filepath.Join(tree, "usr/lib/big"), filepath.Join(tree, "usr/lib/big2")))
		must(t, filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 5}, {Sec: longAgo.Unix()}}, unix.AT_SYMLINK_NOFOLLOW)
			}
			return err
		}))
	}
}

// The kernel's view of the squashfs has the same manifest as the tree.
func TestPackKeepsEverything(t *testing.T) {
	c, img := packable(t)
	packed, err := c.Pack(t.Context(), img.Ref)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(img.Dir, SquashfsFile))
	if err != nil || packed.Squashfs != info.Size() || packed.Digest != img.Digest || !packed.Signed {
		t.Errorf("Pack = %+v, %v; the file has %d bytes", packed, err, info.Size())
	}
	if found, err := c.Find(img.Ref); err != nil || found != packed {
		t.Errorf("Find = %+v, %v; want %+v", found, err, packed)
	}
	view := t.TempDir()
	for _, f := range []string{KernelFile, InitrdFile} {
		must(t, os.Link(filepath.Join(img.Dir, f), filepath.Join(view, f)))
	}
	mountLoop(t, filepath.Join(img.Dir, SquashfsFile), filepath.Join(view, TreeDir))
	entries, digest := scanned(t, view)
	if digest != img.Digest {
		was, _ := scanned(t, img.Dir)
		t.Errorf("the squashfs has the digest %s, the image %s", digest, img.Digest)
		for i := range entries {
			if i < len(was) && entries[i].String() != was[i].String() {
				t.Errorf("%s, was %s", entries[i], was[i])
			}
		}
	}
	if info, err := os.Lstat(filepath.Join(view, TreeDir, "usr/bin/ping")); err != nil || !info.ModTime().Equal(longAgo) {
		t.Errorf("ping has the time %v, %v", info.ModTime(), err)
	}
	if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
}

func scanned(t *testing.T, dir string) ([]entry, string) {
	t.Helper()
	var entries []entry
	s := scanner{dir: dir}
	must(t, s.run(t.Context(), func(e *entry) error {
		entries = append(entries, *e)
		return nil
	}))
	return entries, sumTree(entries)
}

// Equal trees give equal bytes, whatever shares what with whom.
func TestPackIsReproducible(t *testing.T) {
	c, one := packable(t)
	two := publishNext(t, c, "web", packTree(t))
	other := publishNext(t, &Catalog{Dir: t.TempDir(), Key: c.Key}, "web", packTree(t))
	var sums [][32]byte
	for _, img := range []Image{one, two, other} {
		_, err := (&Catalog{Dir: filepath.Dir(filepath.Dir(img.Dir)), Key: c.Key}).Pack(t.Context(), img.Ref)
		must(t, err)
		b, err := os.ReadFile(filepath.Join(img.Dir, SquashfsFile))
		must(t, err)
		sums = append(sums, sha256.Sum256(b))
	}
	if sums[0] != sums[1] || sums[0] != sums[2] {
		t.Errorf("the squashfs of equal trees differ: %x", sums)
	}
}

// The seal is what its documentation says: a node needs nothing of this package.
func TestSeal(t *testing.T) {
	c, img := packable(t)
	_, err := c.Pack(t.Context(), img.Ref)
	must(t, err)
	text, err := os.ReadFile(filepath.Join(img.Dir, SealFile))
	must(t, err)
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) != 3 || len(lines[2]) > 0 {
		t.Fatalf("%d lines", len(lines))
	}
	sig, err := base64.StdEncoding.DecodeString(string(lines[1]))
	must(t, err)
	if !ed25519.Verify(c.Key.Public().(ed25519.PublicKey), append([]byte("muster seal 1\n"), lines[0]...), sig) {
		t.Error("the signature is wrong")
	}
	var s struct {
		Ref, Digest string
		Size, Chunk int64
		Sums        []string
	}
	must(t, json.Unmarshal(lines[0], &s))
	b, err := os.ReadFile(filepath.Join(img.Dir, SquashfsFile))
	must(t, err)
	if s.Ref != "web:1" || s.Digest != img.Digest || s.Size != int64(len(b)) || s.Chunk != 1<<20 {
		t.Errorf("%+v", s)
	}
	for i, sum := range s.Sums {
		chunk := sha256.Sum256(b[int64(i)*s.Chunk : min(int64(i+1)*s.Chunk, s.Size)])
		if hex.EncodeToString(chunk[:]) != sum {
			t.Errorf("chunk %d has another sum", i)
		}
	}
	if n := (s.Size + s.Chunk - 1) / s.Chunk; int64(len(s.Sums)) != n {
		t.Errorf("%d sums, want %d", len(s.Sums), n)
	}
}

func TestVerifyChecksTheSquashfs(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(t *testing.T, c *Catalog, dir string)
		path string
	}{
		"flipped bit": {func(t *testing.T, _ *Catalog, dir string) { must(t, rot(filepath.Join(dir, SquashfsFile), 4000)) }, SquashfsFile},
		"shorter": {func(t *testing.T, _ *Catalog, dir string) {
			must(t, os.Truncate(filepath.Join(dir, SquashfsFile), 100))
		}, SquashfsFile},
		"squashfs missing": {func(t *testing.T, _ *Catalog, dir string) { must(t, os.Remove(filepath.Join(dir, SquashfsFile))) }, SquashfsFile},
		"seal missing":     {func(t *testing.T, _ *Catalog, dir string) { must(t, os.Remove(filepath.Join(dir, SealFile))) }, SealFile},
		"seal edited": {func(t *testing.T, _ *Catalog, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, SealFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, SealFile), bytes.Replace(b, []byte("web:1"), []byte("web:2"), 1), 0o644))
		}, SealFile},
		"seal of another version": {func(t *testing.T, c *Catalog, dir string) {
			two := publishNext(t, c, "web", packTree(t))
			_, err := c.Pack(t.Context(), two.Ref)
			must(t, err)
			b, err := os.ReadFile(filepath.Join(two.Dir, SealFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, SealFile), b, 0o644))
		}, SealFile},
	} {
		t.Run(name, func(t *testing.T) {
			c, img := packable(t)
			_, err := c.Pack(t.Context(), img.Ref)
			must(t, err)
			test.do(t, c, img.Dir)
			problems, err := c.Verify(t.Context(), img.Ref)
			if err != nil || len(problems) != 1 || problems[0].Path != test.path {
				t.Errorf("Verify = %v, %v; want one problem with %s", problems, err, test.path)
			}
			if name == "flipped bit" {
				return // what nobody has looked at is not made anew
			}
			// Pack mends it.
			if _, err := c.Pack(t.Context(), img.Ref); err != nil {
				t.Fatal(err)
			}
			if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Errorf("after another Pack: Verify = %v, %v", problems, err)
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	c, img := packable(t)
	_, err := (&Catalog{Dir: c.Dir}).Pack(t.Context(), img.Ref)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "LoadKey") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := c.Pack(t.Context(), Ref{"web", 9}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a version: %v", err)
	}
	must(t, rot(filepath.Join(img.Dir, TreeDir, "usr/lib/big"), 5000))
	if _, err := c.Pack(t.Context(), img.Ref); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "usr/lib/big") {
		t.Errorf("of a damaged tree: %v", err)
	}
	if left := versionNames(t, img.Dir); strings.Contains(left, "squashfs") || strings.Contains(left, "seal") {
		t.Errorf("it left %s", left)
	}
}

func versionNames(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// fakePack puts a program in mksquashfs' place that says in a file that it was started, and then does what
// body says.
func fakePack(t *testing.T, body string) (started string) {
	t.Helper()
	real, err := exec.LookPath(packTool)
	must(t, err)
	bin := t.TempDir()
	started = filepath.Join(bin, "started")
	must(t, os.WriteFile(filepath.Join(bin, packTool), []byte("#!/bin/sh\nreal="+real+"\necho $$ >>"+started+"\n"+body+"\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return started
}

// A squashfs of a time when none could be exported is made anew.
func TestPackAgainWhatCannotBeExported(t *testing.T) {
	c, img := packable(t)
	_, err := c.Pack(t.Context(), img.Ref)
	must(t, err)
	file := filepath.Join(img.Dir, SquashfsFile)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	var flags [1]byte
	_, err = f.ReadAt(flags[:], 24)
	must(t, err)
	_, err = f.WriteAt([]byte{flags[0] &^ 0x80}, 24)
	must(t, errors.Join(err, f.Close()))
	if !img.Unexportable() {
		t.Error("nobody notices")
	}
	_, err = c.Pack(t.Context(), img.Ref)
	must(t, err)
	if is, err := exportable(file); err != nil || !is || img.Unexportable() {
		t.Errorf("it still cannot be exported, %v", err)
	}
	if gone := (Image{Dir: t.TempDir()}); gone.Unexportable() {
		t.Error("what cannot be read is said to be wrong")
	}
}

func TestTwoPacksAtOnceDoTheWorkOnce(t *testing.T) {
	c, img := packable(t)
	started := fakePack(t, `exec "$real" "$@"`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := c.Pack(t.Context(), img.Ref); err != nil || got.Squashfs == 0 {
				t.Errorf("Pack = %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(started); err != nil || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("mksquashfs was started %d times, %v", bytes.Count(b, []byte("\n")), err)
	}
}

// A cancelled Pack ends its program at once and leaves nothing; so does one that fails.
func TestPackThatIsCancelled(t *testing.T) {
	c, img := packable(t)
	before := versionNames(t, img.Dir)
	started := fakePack(t, `echo half >"$2"; exec sleep 1000`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := c.Pack(ctx, img.Ref)
		done <- err
	}()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(started); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("mksquashfs is not started")
		}
	}
	// Whoever waits for it can be cancelled, too; and the version cannot be removed under it.
	waiting, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Pack(waiting, img.Ref); !errors.Is(err, context.Canceled) {
		t.Errorf("the one that waits: %v", err)
	}
	if err := c.Remove(img.Ref); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Remove in mid-Pack: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Pack = %v, want Canceled", err)
	}
	if after := versionNames(t, img.Dir); after != before {
		t.Errorf("it left %s, there was %s", after, before)
	}
	fakePack(t, `echo half >"$2"; echo "Write failed because No space left on device" >&2; exit 1`)
	if _, err := c.Pack(t.Context(), img.Ref); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("Pack that fails = %v", err)
	}
	if after := versionNames(t, img.Dir); after != before {
		t.Errorf("the one that failed left %s, there was %s", after, before)
	}
	must(t, c.Remove(img.Ref))
}
