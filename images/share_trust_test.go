package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What the manifest of the newest version says of a file is believed only when the manifest is the one that was
// published and signed: a wrong digest would get into the new version, and under its signature.
func TestADamagedManifestIsNotBelieved(t *testing.T) {
	key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	write := func(tree string) {
		putFile(t, tree, "usr/bin/tool", "tool", 0o755)
		putFile(t, tree, "usr/lib/other", "other", 0o644)
	}
	good, evil := sha256.Sum256([]byte("tool")), sha256.Sum256([]byte("evil"))
	for name, damage := range map[string]func(c *Catalog, img Image){
		"a digest that rotted": func(c *Catalog, img Image) {
			file := filepath.Join(img.Dir, ManifestFile)
			b, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file, bytes.ReplaceAll(b, []byte(hex.EncodeToString(good[:])), []byte(hex.EncodeToString(evil[:]))), 0o644))
		},
		"a whole manifest of somebody else's": func(c *Catalog, img Image) {
			entries, _ := scanned(t, img.Dir)
			for i := range entries {
				if entries[i].sum == good {
					entries[i].sum = evil
				}
			}
			img.Digest = sumTree(entries)
			must(t, writeManifest(filepath.Join(img.Dir, ManifestFile), entries))
			must(t, c.describe(img))
		},
		"a manifest that ends early": func(c *Catalog, img Image) {
			file := filepath.Join(img.Dir, ManifestFile)
			info, err := os.Stat(file)
			must(t, err)
			must(t, os.Truncate(file, info.Size()-1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Catalog{Dir: t.TempDir(), Key: key}
			one := publishNext(t, c, "web", write)
			damage(c, one)
			two := publishNext(t, c, "web", write)
			if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 || !two.Signed {
				t.Errorf("Verify(%s) = %v, %v; signed %t", two.Ref, problems, err, two.Signed)
			}
			if two.Digest != one.Digest {
				t.Errorf("equal trees have the digests %s and %s", one.Digest, two.Digest)
			}
			if problems, err := c.Verify(t.Context(), one.Ref); err != nil || len(problems) == 0 {
				t.Errorf("Verify(%s) = %v, %v: the test tests nothing", one.Ref, problems, err)
			}
		})
	}
}

// A file that cannot be read is never published as an empty one.
func TestAReadErrorWhileComparingIsNotLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("content"), 0o644))
	old, err := os.Open(file)
	must(t, err)
	defer old.Close()
	// A disk that fails: this descriptor gives an error to whoever reads.
	broken, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, err)
	defer broken.Close()
	w := newScanWorker(t.Context(), nil)
	w.fd, w.at = int(broken.Fd()), -1
	must(t, unix.Fstat(w.fd, &w.st))
	e := entry{path: "tree/file", kind: 'f', size: w.st.Size}
	e.attributes(&w.st)
	was := w.st
	if err := w.compare(&e, int(old.Fd()), &was); err == nil {
		t.Error("compare read what cannot be read")
	}
	if err := w.sum(&e); err == nil {
		t.Errorf("sum gave %d bytes and %x of a file that cannot be read", e.size, e.sum)
	}
}
