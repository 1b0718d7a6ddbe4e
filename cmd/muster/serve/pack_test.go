package serve

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/httpboot/agent/pair"
	"muster/images"
)

// TestPackingIsNotTriedAllTheTime: nodes ask every second while they wait, and each try reads the whole image.
func TestPackingIsNotTriedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &packer{catalog: &images.Catalog{Dir: t.TempDir()}, log: slog.New(slog.NewTextHandler(&log, nil))} // has no key: Pack fails
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.run(ctx) }()
		img := images.Image{Ref: images.Ref{Name: "web", Version: 7}}
		for range 60 {
			p.wait(img)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := p.wait(img); !strings.Contains(got, "web:7 could not be packed, and is tried again: ") || !strings.Contains(got, "no signing key") {
			t.Errorf("nodes wait for %q", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "image not packed"); n < 2 || n > 4 {
			t.Errorf("%d tries in a minute", n)
		}
	})
}

// TestPackedBeforePairs: what was packed for RAM, of a time when that could not be exported, is packed anew for a pair.
func TestPackedBeforePairs(t *testing.T) {
	img := images.Image{Ref: images.Ref{Name: "web", Version: 7}, Dir: t.TempDir(), Squashfs: 96}
	superblock := make([]byte, 96)
	write := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(img.Dir, images.SquashfsFile), superblock, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write()
	c := contents{packs: &packer{}}
	known := &pairContents{packed: map[images.Ref]pair.Image{}}
	if why := c.packs.wait(img); why != "" {
		t.Errorf("for RAM: %q", why)
	}
	if _, ok := c.packed(known)(img); ok {
		t.Error("a pair gets what it cannot export")
	}
	if why := c.packs.waitPair(img); why != "web:7 is being packed" {
		t.Errorf("for a pair: %q", why)
	}
	superblock[24] = 0x80 // the flags: it has an export table
	write()
	if _, ok := c.packed(known)(img); !ok || c.packs.waitPair(img) != "" {
		t.Error("packed anew it is not given")
	}
}
