package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Builder builds images with mmdebstrap and publishes them in a catalog. Its fields are set before the
// first build and not changed.
type Builder struct {
	// Catalog is where images are published. Required.
	Catalog *Catalog
	// Cache is the directory of packages that builds share; it is made when it is missing. Required.
	Cache string
	// Agent is the path of muster-init, which becomes the initrd's /init. Required.
	Agent string
	// Mmdebstrap is the program; empty means mmdebstrap, from PATH.
	Mmdebstrap string
	// Sources are what images can be imported from, by the word before the colon of Recipe.From.
	Sources map[string]Source
	// Etc is the host's /etc, of which the package sources are read; nil means the real one.
	Etc fs.FS
	// Limits bound what a build takes from this machine. The zero value has sensible ones.
	Limits Limits
	// Patience is how long a package source may be silent, for each of three tries; zero means 30 seconds.
	Patience time.Duration
	// CacheAge is how long a package stays in the cache after the last build that used it, and CacheSize how
	// many bytes the cache may have; zero means 60 days and 4 GiB. What the build at hand used stays.
	CacheAge  time.Duration
	CacheSize int64
	booted    string // where systemd says that it runs; empty means systemdRuns. Tests set it.
	// Logger gets a line for each build; nil is silent. What the build's programs say is in its own log.
	Logger *slog.Logger
}

// Options are those of one build.
type Options struct {
	// Overlays are copied over the root in this order, before the recipe's own. In one whose files have
	// mode 0444, as in an embed.FS, files become 0644, or 0755 when they begin with "#!".
	Overlays []fs.FS
	// Progress is called from time to time, never concurrently, and must not block; nil: nobody listens.
	Progress func(Progress)
	// Keep leaves the current version as it is; otherwise the new one becomes current.
	Keep bool
}

// Build makes a new version of the image name and publishes it. When it fails, or ctx ends, nothing is left
// of it but its log, <catalog>/<name>/build-<n>.log, which the error names. A second build of the name at
// the same time is refused with an error that wraps fs.ErrExist.
func (b *Builder) Build(ctx context.Context, name string, recipe Recipe, opts Options) (Image, error) {
	recipe, err := recipe.complete(name)
	if err != nil {
		return Image{}, err
	}
	if err := b.ready(); err != nil {
		return Image{}, err
	}
	unlock, err := b.Catalog.lock(name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	log, err := b.Catalog.newLog(name)
	if err != nil {
		return Image{}, err
	}
	defer log.Close()
	partial, err := b.Catalog.newPartial(name)
	if err != nil {
		return Image{}, err
	}

	work := &build{
		Builder: b, recipe: recipe, opts: opts, log: log, progress: newProgress(opts.Progress),
		dir: partial,
		img: Image{Ref: Ref{Name: name}, Arch: arch, Flavour: recipe.Kernel},
	}
	img, err := work.run(ctx)
	if err != nil {
		err = errors.Join(err, os.RemoveAll(work.dir))
		fmt.Fprintln(log, "E:", err)
		return Image{}, fmt.Errorf("images: build %s: %w (log: %s)", name, err, log.Name())
	}
	b.logger().Info("image built", "image", img.Ref.String(), "kernel", img.Kernel, "took", time.Since(work.progress.started).Round(time.Second))
	return img, nil
}

func (b *Builder) logger() *slog.Logger {
	if b.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return b.Logger
}

// build is one build under way.
type build struct {
	*Builder
	recipe   Recipe
	opts     Options
	log      *os.File
	progress *progress
	dir      string // partial: becomes the version's directory
	img      Image
	sources  feed
	epoch    int64 // of the image, once its packages are there
}

// run makes everything in the partial directory and publishes it.
func (w *build) run(ctx context.Context) (Image, error) {
	tree := filepath.Join(w.dir, TreeDir)
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return Image{}, err
	}
	w.progress.enter(StagePrepare, "reading package lists")
	etc := w.Etc
	if etc == nil {
		etc = os.DirFS("/etc")
	}
	var err error
	if w.sources, err = newFeed(etc, w.recipe, w.dir); err != nil {
		return Image{}, err
	}
	w.sources.unused = w.recipe.From != "" // until it installs packages
	root := w.debootstrap
	if w.recipe.From != "" {
		root, w.progress.starts = w.fill, importStart
	}
	err = root(ctx, tree)
	if err == nil {
		err = w.findEpoch(ctx, tree)
	}
	if err := errors.Join(err, keepPackages(tree, w.archives(), time.Now())); err != nil {
		return Image{}, err
	}
	w.progress.enter(StageTree, "copying the overlay, enabling services")
	if w.recipe.From == "" {
		if err := errors.Join(drop(ctx, tree), w.forgetKeys(ctx, tree)); err != nil {
			return Image{}, err
		}
	}
	if err := dress(ctx, tree, w.img.Ref, w.recipe, w.sources, w.overlays(), w.log); err != nil {
		return Image{}, err
	}
	if len(w.recipe.Hooks) > 0 {
		w.progress.enter(StageHooks, "running hooks")
		if err := w.hooks(ctx, tree); err != nil {
			return Image{}, err
		}
	}
	w.progress.enter(StageInitrd, "making the initrd")
	if err := w.kernel(tree); err != nil {
		return Image{}, err
	}
	if err := w.settle(ctx, tree); err != nil {
		return Image{}, err
	}
	if err := keepLog(w.log, w.dir); err != nil {
		return Image{}, err
	}
	img, err := w.Catalog.finish(ctx, w.dir, w.img, w.progress.enter)
	if err != nil {
		return Image{}, err
	}
	if !w.opts.Keep {
		if err := w.Catalog.SetCurrent(img.Ref); err != nil {
			return Image{}, fmt.Errorf("%s is published, but not current: %w", img.Ref, err)
		}
		img.Current = true
	}
	w.tidyCache()
	w.progress.enter(StageDone, img.Ref.String()+" is ready")
	return img, nil
}

func (b *Builder) archives() string { return filepath.Join(b.Cache, "archives") }

func (b *Builder) program() string {
	if b.Mmdebstrap == "" {
		return "mmdebstrap"
	}
	return b.Mmdebstrap
}

func (w *build) overlays() []fs.FS {
	if w.recipe.Overlay == "" {
		return w.opts.Overlays
	}
	return append(w.opts.Overlays[:len(w.opts.Overlays):len(w.opts.Overlays)], os.DirFS(w.recipe.Overlay))
}

// What the log says of firmware and microcode that are not installed. Debian has them apart, as non-free, and
// most machines work without: an image must not fail for it.
const (
	noFirmware  = "W: muster: the image has no firmware for the drivers %s. Few of their cards need it.\n"
	noMicrocode = "W: muster: the image has no microcode: processors run with what their machine's firmware brought.\n"
	addNonFree  = "W: muster: packages with both are in Debian's component non-free-firmware: add it to the role's sources, or to those of this host.\n"
)

// kernel takes the kernel out of the tree and makes the initrd for it.
func (w *build) kernel(tree string) error {
	kernel, initrd := filepath.Join(w.dir, KernelFile), filepath.Join(w.dir, InitrdFile)
	release, err := takeKernel(tree, kernel)
	if err != nil {
		return err
	}
	w.img.Kernel = release
	f, err := os.Create(initrd)
	if err != nil {
		return err
	}
	defer f.Close()
	facts, err := writeInitrd(f, tree, release, w.recipe.Kernel, w.Agent)
	if err != nil {
		return err
	}
	if len(facts.lacking) > 0 {
		fmt.Fprintf(w.log, noFirmware, strings.Join(facts.lacking, ", "))
		w.progress.tell(fmt.Sprintf("no firmware for %d drivers; the log names them", len(facts.lacking)))
	}
	if w.recipe.Kernel == KernelFull {
		if !facts.microcode {
			fmt.Fprint(w.log, noMicrocode)
		}
		if w.recipe.From == "" && firmwarePackages(w.recipe.Kernel, w.sources.lines) == nil {
			fmt.Fprint(w.log, addNonFree)
		}
	}
	for path, size := range map[string]*int64{kernel: &w.img.KernelSize, initrd: &w.img.InitrdSize} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		*size = info.Size()
	}
	return nil
}
