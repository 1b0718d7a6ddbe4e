package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"muster/images"
)

var web7 = images.Image{Ref: images.Ref{Name: "web", Version: 7}, Kernel: "6.1.0-39-cloud-amd64", Size: 1 << 30, Built: start, Current: true}

// fixedImages is a catalog with web:7 that does nothing with it.
type fixedImages struct{ Images }

func (fixedImages) List() ([]images.Image, error) { return []images.Image{web7}, nil }

func (fixedImages) Find(ref images.Ref) (images.Image, error) {
	if ref.Name == "web" && (ref.Version == 0 || ref.Version == 7) {
		return web7, nil
	}
	return images.Image{}, fmt.Errorf("image %s does not exist: %w", ref, fs.ErrNotExist)
}

func TestImages(t *testing.T) {
	c := client(t, &Server{Rack: newRegistry(t), Images: fixedImages{}})
	if v, err := c.ListImages(t.Context()); err != nil || len(v) != 1 || v[0] != web7 {
		t.Errorf("ListImages: %+v, %v", v, err)
	}
	for _, ref := range []images.Ref{{Name: "web"}, {Name: "web", Version: 7}} {
		if v, err := c.Image(t.Context(), ref); err != nil || v != web7 {
			t.Errorf("Image %s: %+v, %v", ref, v, err)
		}
	}
	if _, err := c.Image(t.Context(), images.Ref{Name: "web", Version: 8}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Image web:8: %v", err)
	}
}

func TestBuild(t *testing.T) {
	s := &Server{Rack: declared(t)}
	s.Build = func(_ context.Context, role string, progress func(BuildProgress)) (images.Image, error) {
		if role == "ntp" {
			return images.Image{}, fmt.Errorf("images: mmdebstrap is not installed (make setup): %w", fs.ErrNotExist)
		}
		// Builders report from several goroutines.
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { progress(BuildProgress{Step: "packages", Percent: i + 1}) })
		}
		wg.Wait()
		return web7, nil
	}
	c := client(t, s)
	lines := 0
	im, err := c.Build(t.Context(), "web", func(BuildProgress) { lines++ })
	if err != nil || im != web7 || lines != 21 {
		t.Errorf("Build web: %+v, %v after %d lines", im, err, lines)
	}
	if _, err = c.Build(t.Context(), "ntp", nil); !errors.Is(err, fs.ErrNotExist) || err.Error() != "images: mmdebstrap is not installed (make setup)" {
		t.Errorf("Build ntp: %v", err)
	}
	if _, err = c.Build(t.Context(), "mail", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Build of a role that is not there: %v", err)
	}
}

// TestBuildIsCancelledWithItsClient: the builder's context ends when the client goes away.
func TestBuildIsCancelledWithItsClient(t *testing.T) {
	ended := make(chan error, 1)
	s := &Server{Rack: declared(t)}
	s.Build = func(ctx context.Context, _ string, progress func(BuildProgress)) (images.Image, error) {
		progress(BuildProgress{Step: "packages"})
		<-ctx.Done()
		ended <- ctx.Err()
		return images.Image{}, ctx.Err()
	}
	c := client(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Build(ctx, "web", func(p BuildProgress) {
		if p.Step == "packages" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Build: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the builder's context: %v", err)
	}
}
