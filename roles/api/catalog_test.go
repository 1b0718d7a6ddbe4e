package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/images"
	"muster/roles"
)

// keptImages is a catalog that keeps what it was asked to do.
type keptImages struct {
	fixedImages
	asked []string
	log   string // path of the log
}

func (k *keptImages) ask(format string, args ...any) {
	k.asked = append(k.asked, fmt.Sprintf(format, args...))
}

func (k *keptImages) SetCurrent(ref images.Ref) error {
	k.ask("publish %s", ref)
	_, err := k.Find(ref)
	return err
}

func (k *keptImages) Rollback(name string) (images.Image, error) {
	k.ask("rollback %s", name)
	return web7, nil
}

func (k *keptImages) Verify(_ context.Context, ref images.Ref) ([]images.Problem, error) {
	k.ask("verify %s", ref)
	return []images.Problem{{Path: "tree/etc/motd", What: "content"}, {Path: "tree/a\nb\xff", What: "extra"}}, nil
}

func (k *keptImages) Diff(_ context.Context, a, b images.Ref) (images.Diff, error) {
	k.ask("diff %s %s", a, b)
	return images.Diff{Files: []images.FileChange{{Path: "etc/motd", What: "removed"}}}, nil
}

func (k *keptImages) Prune(_ context.Context, o images.PruneOptions) ([]images.Pruned, error) {
	k.ask("prune %q keep %d dry %v", o.Name, o.Keep, o.DryRun)
	return []images.Pruned{{Ref: web7.Ref, Kept: o.InUse(web7.Ref)}}, nil
}

func (k *keptImages) Remove(ref images.Ref) error { k.ask("remove %s", ref); return nil }

func (k *keptImages) Log(ref images.Ref) (string, error) { k.ask("log %s", ref); return k.log, nil }

func (k *keptImages) Pack(_ context.Context, ref images.Ref) (images.Image, error) {
	k.ask("pack %s", ref)
	return web7, nil
}

// TestImageLife: what a client asks for is what the catalog is asked to do.
func TestImageLife(t *testing.T) {
	k := &keptImages{}
	reg := declared(t)
	c := client(t, &Server{Rack: reg, Images: k})
	ctx := t.Context()
	web, exact := images.Ref{Name: "web"}, web7.Ref
	for _, do := range []func() (images.Image, error){
		func() (images.Image, error) { return c.PublishImage(ctx, exact) },
		func() (images.Image, error) { return c.RollbackImage(ctx, "web") },
		func() (images.Image, error) { return c.PackImage(ctx, web) },
	} {
		if im, err := do(); err != nil || im != web7 {
			t.Errorf("got %+v, %v", im, err)
		}
	}
	v, err := c.VerifyImage(ctx, web)
	want := Verification{Image: web7, Problems: []Problem{{"tree/etc/motd", "content"}, {`"tree/a\nb\xff"`, "extra"}}}
	if d := cmp.Diff(want, v); d != "" || err != nil {
		t.Errorf("VerifyImage: %v, -want +got:\n%s", err, d)
	}
	diff, err := c.DiffImages(ctx, exact, web)
	if err != nil || diff.Packages == nil || len(diff.Files) != 1 {
		t.Errorf("DiffImages: %+v, %v", diff, err)
	}
	if err := c.RemoveImage(ctx, exact); err != nil {
		t.Errorf("RemoveImage: %v", err)
	}
	pruned, err := c.PruneImages(ctx, PruneRequest{Name: "web", Keep: 3, DryRun: true})
	if err != nil || len(pruned) != 1 || pruned[0].Ref != exact || pruned[0].Kept != "" {
		t.Errorf("PruneImages: %+v, %v", pruned, err)
	}
	asked := []string{"publish web:7", "rollback web", "pack web:7", "verify web:7", "diff web:7 web", "remove web:7", `prune "web" keep 3 dry true`}
	if d := cmp.Diff(asked, k.asked); d != "" {
		t.Errorf("the catalog was asked, -want +got:\n%s", d)
	}
}

// TestUsedImageStays: the rack says what is in use, to a removal and to a pruning.
func TestUsedImageStays(t *testing.T) {
	k := &keptImages{}
	reg := declared(t)
	if _, err := reg.Script(t.Context(), macA, roles.Facts{Arch: "x86_64"}); err != nil {
		t.Fatal(err)
	}
	c := client(t, &Server{Rack: reg, Images: k})
	err := c.RemoveImage(t.Context(), web7.Ref)
	if !errors.Is(err, fs.ErrExist) || !strings.HasPrefix(err.Error(), "web:7 stays: web-01 boots it") {
		t.Errorf("RemoveImage: %v", err)
	}
	pruned, err := c.PruneImages(t.Context(), PruneRequest{})
	if err != nil || len(pruned) != 1 || !strings.HasPrefix(pruned[0].Kept, "web-01 boots it") {
		t.Errorf("PruneImages: %+v, %v", pruned, err)
	}
	if d := cmp.Diff([]string{`prune "" keep 0 dry false`}, k.asked); d != "" {
		t.Errorf("the catalog was asked, -want +got:\n%s", d)
	}
}

func TestImageLog(t *testing.T) {
	k := &keptImages{log: filepath.Join(t.TempDir(), "log")}
	c := client(t, &Server{Rack: declared(t), Images: k})
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(k.log, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	get := func(tail int) string {
		t.Helper()
		var b bytes.Buffer
		if err := c.ImageLog(t.Context(), images.Ref{Name: "web"}, tail, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, tt := range []struct {
		text string
		tail int
		want string
	}{
		{"a\nb\nc\n", 0, "a\nb\nc\n"},
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"a\nb\nc\n", 3, "a\nb\nc\n"},
		{"a\nb\nc\n", 9, "a\nb\nc\n"},
		{"", 1, ""},
	} {
		write(tt.text)
		if got := get(tt.tail); got != tt.want {
			t.Errorf("tail %d of %q is %q, want %q", tt.tail, tt.text, got, tt.want)
		}
	}
	write("first\n" + strings.Repeat("0123456789abcde\n", maxLog/16) + "last\n")
	got := get(0)
	if len(got) > maxLog+200 || !strings.HasPrefix(got, "(the beginning is left out: the whole log is in "+k.log+")\n0123456789abcde\n") || !strings.HasSuffix(got, "\nlast\n") {
		t.Errorf("a log that is too long: %d bytes, %q…", len(got), got[:100])
	}
	if err := os.Remove(k.log); err != nil {
		t.Fatal(err)
	}
	if err := c.ImageLog(t.Context(), web7.Ref, 0, new(bytes.Buffer)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "the log of web:7 is gone") {
		t.Errorf("a log that is gone: %v", err)
	}
}

func TestImport(t *testing.T) {
	s := &Server{Rack: declared(t)}
	var got images.Recipe
	s.Import = func(_ context.Context, name string, r images.Recipe, progress func(BuildProgress)) (images.Image, error) {
		got = r
		progress(BuildProgress{Step: "fill", Percent: 10, Remaining: roles.Duration(5e9)})
		if name != "web" {
			return images.Image{}, fmt.Errorf("images: %s has no kernel: %w", r.From, fs.ErrInvalid)
		}
		return web7, nil
	}
	c := client(t, s)
	want := images.Recipe{From: "tar:/root/x.tar", Packages: []string{"nginx-light"}, Kernel: images.KernelCloud}
	var lines []BuildProgress
	im, err := c.Import(t.Context(), "web", want, func(p BuildProgress) { lines = append(lines, p) })
	if err != nil || im != web7 || len(lines) != 2 || lines[1].Remaining != roles.Duration(5e9) {
		t.Errorf("Import: %+v, %v, %+v", im, err, lines)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("recipe, -want +got:\n%s", d)
	}
	if _, err := c.Import(t.Context(), "shop", want, nil); !errors.Is(err, fs.ErrInvalid) || err.Error() != "images: tar:/root/x.tar has no kernel" {
		t.Errorf("Import that fails: %v", err)
	}
}
