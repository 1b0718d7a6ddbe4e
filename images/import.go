package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Source fills a root from something that exists already.
type Source interface {
	// Fill writes a root file system into dir, an empty directory, and gives what it came from, exactly:
	// "oci:docker.io/library/debian@sha256:…". What is the part of Recipe.From behind the colon. Nothing that
	// it reads may lead out of dir. The error wraps fs.ErrNotExist where there is no such thing, and
	// fs.ErrInvalid where it is not a root file system or would escape.
	Fill(ctx context.Context, what, dir string, o FillOptions) (origin string, err error)
}

// FillOptions go with Source.Fill.
type FillOptions struct {
	// Log takes what people may want to read when it failed.
	Log io.Writer
	// Progress is told how far it is: percent 0–100 of the whole, and what is being done.
	Progress func(percent int, message string)
}

// fill makes the tree from what the recipe names in From, says what it lacks for a boot from the network, and
// adds that where the recipe asks for it: by its packages or its kernel.
func (w *build) fill(ctx context.Context, tree string) error {
	src, what, err := w.source()
	if err != nil {
		return err
	}
	w.progress.enter(StageImport, "importing "+w.recipe.From)
	if err := errors.Join(os.Mkdir(tree, 0o755), os.MkdirAll(w.archives(), 0o755)); err != nil {
		return err
	}
	w.img.From, err = src.Fill(ctx, what, tree, FillOptions{Log: w.log, Progress: func(percent int, message string) {
		w.progress.part(percent, 100, message)
	}})
	if err == nil {
		fmt.Fprintf(w.log, "I: muster: imported %s\n", w.img.From)
		err = contain(ctx, tree, w.log)
	}
	if err != nil {
		// Nobody may look for packages, or anything, in a tree whose links lead anywhere.
		return errors.Join(err, os.RemoveAll(tree))
	}
	if err := furnish(tree); err != nil {
		return err
	}
	r := &imported{build: w, tree: tree, os: readOS(tree), asked: w.recipe.Kernel != "" || len(w.recipe.Packages) > 0}
	if err := r.install(ctx); err != nil {
		return err
	}
	if err := unifyLib(tree); err != nil {
		return err
	}
	if err := r.takeOneKernel(ctx); err != nil {
		return err
	}
	if missing := r.missing(); len(missing) > 0 {
		return r.advise(missing)
	}
	return nil
}

// source finds who reads what From names.
func (w *build) source() (Source, string, error) {
	scheme, what, has := strings.Cut(w.recipe.From, ":")
	src := w.Sources[scheme]
	if !has || src == nil || what == "" {
		known := strings.Join(slices.Sorted(maps.Keys(w.Sources)), ":…, ") + ":…"
		if len(w.Sources) == 0 {
			known = "none here"
		}
		return nil, "", fmt.Errorf("from %q: nothing can be imported that way, known are %s: %w", w.recipe.From, known, fs.ErrInvalid)
	}
	return src, what, nil
}

// imported is an imported root on its way to an image.
type imported struct {
	*build
	tree string
	os   osRelease
	// asked says that the recipe wants what is missing to be added.
	asked bool
	// kernel is the release of the one that it boots, empty while there is none.
	kernel string
}

// lack is something without which a root does not boot from the network.
type lack struct {
	what string
	// pkg is Debian's package with it.
	pkg string
}

// advise makes one error of all that is missing.
func (r *imported) advise(missing []lack) error {
	var what, pkgs []string
	for _, m := range missing {
		what = append(what, m.what)
		if m.pkg != "" && !slices.Contains(pkgs, m.pkg) {
			pkgs = append(pkgs, m.pkg)
		}
	}
	err := fmt.Errorf("%s cannot boot from the network: it lacks %s", r.recipe.From, strings.Join(what, "; "))
	switch {
	case !r.hasApt():
		err = fmt.Errorf("%w; it has no apt to add it: put it there where the root is made", err)
	case !r.asked:
		err = fmt.Errorf("%w; \"kernel: %s\" in the recipe (\"kernel: %s\" for virtual machines) adds what is missing, or name packages: %s", err, KernelFull, KernelCloud, strings.Join(pkgs, ", "))
	case len(pkgs) > 0:
		err = fmt.Errorf("%w; add these packages to the recipe: %s", err, strings.Join(pkgs, ", "))
	}
	return &invalid{err}
}

// invalid is an error whose sentence is complete, and that is fs.ErrInvalid all the same.
type invalid struct{ error }

func (e *invalid) Unwrap() []error { return []error{e.error, fs.ErrInvalid} }
