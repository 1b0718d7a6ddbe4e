package images

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signedCatalog is one with a key and a signed version web:1.
func signedCatalog(t *testing.T) (*Catalog, Image) {
	t.Helper()
	key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	c := &Catalog{Dir: t.TempDir(), Key: key}
	return c, publishNext(t, c, "web", oddTree(t))
}

func TestSignedVersionsAreKnown(t *testing.T) {
	c, img := signedCatalog(t)
	other, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	for _, test := range []struct {
		name string
		key  ed25519.PrivateKey
		want bool
	}{{"the key", c.Key, true}, {"another key", other, false}, {"no key", nil, false}} {
		reader := &Catalog{Dir: c.Dir, Key: test.key}
		found, err := reader.Find(img.Ref)
		if err != nil || found.Signed != test.want {
			t.Errorf("%s: Find: signed %t, %v; want %t", test.name, found.Signed, err, test.want)
		}
		all, err := reader.List()
		if err != nil || len(all) != 1 || all[0].Signed != test.want {
			t.Errorf("%s: List = %+v, %v; want signed %t", test.name, all, err, test.want)
		}
	}
	// What is stored claims nothing.
	if b, err := os.ReadFile(filepath.Join(img.Dir, ImageFile)); err != nil || strings.Contains(string(b), "true") {
		t.Errorf("image.json = %s, %v", b, err)
	}
}

// Verify finds whatever somebody may do who has everything but the key.
func TestVerifyChecksTheSignature(t *testing.T) {
	edit := func(file, old, new string) func(*testing.T, *Catalog, Image) {
		return func(t *testing.T, c *Catalog, img Image) {
			path := filepath.Join(img.Dir, file)
			b, err := os.ReadFile(path)
			must(t, err)
			if !strings.Contains(string(b), old) {
				t.Fatalf("%s has no %q", file, old)
			}
			must(t, os.WriteFile(path, []byte(strings.Replace(string(b), old, new, 1)), 0o644))
		}
	}
	for name, test := range map[string]struct {
		do         func(*testing.T, *Catalog, Image)
		path, what string
	}{
		"missing": {func(t *testing.T, c *Catalog, img Image) {
			must(t, os.Remove(filepath.Join(img.Dir, SignatureFile)))
		}, SignatureFile, "missing"},
		"garbage": {func(t *testing.T, c *Catalog, img Image) {
			must(t, os.WriteFile(filepath.Join(img.Dir, SignatureFile), []byte("yes\n"), 0o644))
		}, SignatureFile, "is not this server's"},
		"another key's": {func(t *testing.T, c *Catalog, img Image) {
			key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(img.Dir, SignatureFile), signature(key, signed(img.Ref, img.Digest)), 0o644))
		}, SignatureFile, "is not this server's"},
		"of another version": {func(t *testing.T, c *Catalog, img Image) {
			two := publishNext(t, c, "web", oddTree(t))
			if two.Digest != img.Digest {
				t.Fatal("equal trees with different digests: the test tests nothing")
			}
			b, err := os.ReadFile(filepath.Join(two.Dir, SignatureFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(img.Dir, SignatureFile), b, 0o644))
		}, SignatureFile, "is not this server's"},
		"of another image": {func(t *testing.T, c *Catalog, img Image) {
			other := publishNext(t, c, "mail", oddTree(t))
			b, err := os.ReadFile(filepath.Join(other.Dir, SignatureFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(img.Dir, SignatureFile), b, 0o644))
		}, SignatureFile, "is not this server's"},
		"a seal's": {func(t *testing.T, c *Catalog, img Image) {
			message := append([]byte(SealContext), signed(img.Ref, img.Digest)...)
			must(t, os.WriteFile(filepath.Join(img.Dir, SignatureFile), signature(c.Key, message), 0o644))
		}, SignatureFile, "is not this server's"},
		// Everything is made to fit, but for the signature.
		"tree, manifest and image.json": {func(t *testing.T, c *Catalog, img Image) {
			must(t, os.WriteFile(filepath.Join(img.Dir, TreeDir, "backdoor"), []byte("x"), 0o755))
			unsigned := &Catalog{Dir: c.Dir}
			entries, digest, err := newSharer(unsigned, "none", img.Dir).shareTree(t.Context())
			must(t, err)
			must(t, writeManifest(filepath.Join(img.Dir, ManifestFile), entries))
			img.Digest, img.Files, img.Size = digest, img.Files+1, img.Size+1
			must(t, unsigned.describe(img))
			if problems, err := unsigned.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Fatalf("the forgery does not fit: %v, %v", problems, err)
			}
		}, SignatureFile, "is not this server's"},
		"image.json's sizes":      {edit(ImageFile, `"files": 1`, `"files": 2`), ImageFile, "changed"},
		"image.json's digest":     {edit(ImageFile, `"sha256:`, `"sha256:0`), ManifestFile, "changed"},
		"manifest: mode":          {edit(ManifestFile, " 1777 ", " 0777 "), ManifestFile, "changed"},
		"manifest: not canonical": {edit(ManifestFile, " 1777 ", " 01777 "), ManifestFile, "changed"},
		"manifest: torn": {func(t *testing.T, c *Catalog, img Image) {
			file := filepath.Join(img.Dir, ManifestFile)
			info, err := os.Stat(file)
			must(t, err)
			must(t, os.Truncate(file, info.Size()-1))
		}, ManifestFile, "changed"},
		"manifest: empty": {func(t *testing.T, c *Catalog, img Image) {
			must(t, os.Truncate(filepath.Join(img.Dir, ManifestFile), 0))
		}, ManifestFile, "changed"},
		"a file beside the tree": {func(t *testing.T, c *Catalog, img Image) {
			must(t, os.WriteFile(filepath.Join(img.Dir, "payload"), nil, 0o755))
		}, "payload", "extra"},
	} {
		t.Run(name, func(t *testing.T) {
			c, img := signedCatalog(t)
			if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Fatalf("before: %v, %v", problems, err)
			}
			test.do(t, c, img)
			problems, err := c.Verify(t.Context(), img.Ref)
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 || problems[0].Path != test.path || !strings.HasPrefix(problems[0].What, test.what) {
				t.Errorf("Verify = %v, want %s: %s", problems, test.path, test.what)
			}
		})
	}
}

// A flipped bit anywhere in what Verify reads beside the tree is found.
func TestVerifyFindsAFlippedBitInItsRecords(t *testing.T) {
	c, img := signedCatalog(t)
	for _, file := range []string{ManifestFile, SignatureFile} {
		path := filepath.Join(img.Dir, file)
		b, err := os.ReadFile(path)
		must(t, err)
		for i := range b {
			flipped := append([]byte{}, b...)
			flipped[i] ^= 1 << (i % 8)
			must(t, os.WriteFile(path, flipped, 0o644))
			v := verifier{catalog: c, img: img}
			if err := v.records(); err != nil || len(v.problems) == 0 {
				t.Fatalf("bit %d of byte %d of %s: %v, %v", i%8, i, file, v.problems, err)
			}
		}
		must(t, os.WriteFile(path, b, 0o644))
	}
}

// An image of Muster before Merkle manifests is told as what it is.
func TestVerifyNamesAnOldManifest(t *testing.T) {
	c, img := published(t, nil)
	old := "f 0644 0:0 6 1d2b0ae6a6a1b2a4a6d5a4d1f1f4c4a0c5e0f9e9c1b6e3a4e6c1a9f2e5b7d8c9 \"initrd.img\"\n" +
		"d 0755 0:0 - \"tree\"\nf 0644 0:0 6 00 \"vmlinuz\"\n"
	must(t, os.WriteFile(filepath.Join(img.Dir, ManifestFile), []byte(old), 0o644))
	problems, err := c.Verify(t.Context(), img.Ref)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "older muster") || !strings.Contains(problems[0].What, "muster image build web") {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	// It does not disturb the next version either.
	two := publishNext(t, c, "web", oddTree(t))
	if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify of the next = %v, %v", problems, err)
	}
}
