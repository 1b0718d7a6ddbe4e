package serve

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
