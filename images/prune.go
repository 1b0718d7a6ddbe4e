package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Pruned is one version that Prune looked at.
type Pruned struct {
	Ref Ref `json:"ref"`
	// Kept says why it stays; empty for one that was removed (or would be, in a dry run).
	Kept string `json:"kept,omitempty"`
	// Freed is about how many bytes the disk gained: files that other versions share are not counted.
	Freed int64 `json:"freed,omitempty"`
}

// PruneOptions say what to remove.
type PruneOptions struct {
	// Name limits it to one image; empty means all.
	Name string
	// Keep is how many of the newest versions of each image stay in any case; zero means 2.
	Keep int
	// DryRun changes nothing.
	DryRun bool
	// InUse says why a version must stay (a node runs it, a boot loads it, a pool is pinned to it); empty
	// means that it need not. It is asked again right before a version is removed, while nobody can switch the
	// image's versions: it may look at the catalog, but must not change it. Required.
	InUse func(Ref) string
}

// Prune removes versions that nothing uses. The current version of an image, and the one that was current
// before it, always stay. It gives every version that it looked at, also when it fails on the way.
func (c *Catalog) Prune(ctx context.Context, o PruneOptions) ([]Pruned, error) {
	if o.InUse == nil {
		return nil, fmt.Errorf("images: prune: nobody says what is in use: %w", fs.ErrInvalid)
	}
	if o.Keep == 0 {
		o.Keep = 2
	}
	names := []string{o.Name}
	if o.Name == "" {
		var err error
		if names, err = c.names(); err != nil {
			return nil, err
		}
	} else if versions, err := c.versionsOf(o.Name); err != nil {
		return nil, err
	} else if len(versions) == 0 {
		return nil, c.missing(Ref{Name: o.Name})
	}
	p := pruning{catalog: c, options: o}
	var errs []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		errs = append(errs, p.image(ctx, name))
	}
	return p.all, errors.Join(errs...)
}

// versionsOf is versions for a name that may come from anywhere.
func (c *Catalog) versionsOf(name string) ([]int, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("images: %q is not an image name: %w", name, fs.ErrInvalid)
	}
	return c.versions(name)
}

// pruning is one Prune.
type pruning struct {
	catalog *Catalog
	options PruneOptions
	dry     usage // what a dry run would have removed so far
	all     []Pruned
}

// image prunes the versions of one image, the oldest first.
func (p *pruning) image(ctx context.Context, name string) error {
	versions, err := p.catalog.versionsOf(name)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return nil
	}
	busy := ""
	if !p.options.DryRun {
		unlock, err := p.catalog.lock(name)
		if errors.Is(err, fs.ErrExist) {
			busy = "the image is being built or removed at the moment"
		} else if err != nil {
			return err
		} else {
			defer unlock()
		}
	}
	var errs []error
	for i, v := range versions {
		if ctx.Err() != nil {
			break
		}
		ref := Ref{name, v}
		kept, err := p.keep(ref, len(versions)-i)
		errs = append(errs, err)
		if err != nil {
			continue
		}
		if kept == "" {
			kept = busy
		}
		done := Pruned{Ref: ref, Kept: kept}
		if kept == "" {
			done, err = p.remove(ref)
			errs = append(errs, err)
		}
		p.all = append(p.all, done)
	}
	return errors.Join(errs...)
}

// keep says why a version stays; empty when nothing keeps it. Rank is 1 for the newest of its image.
func (p *pruning) keep(ref Ref, rank int) (string, error) {
	current, err := p.catalog.current(ref.Name)
	if err != nil {
		return "", err
	}
	before, err := p.catalog.history(ref.Name, current)
	if err != nil {
		return "", err
	}
	previous, _, err := p.catalog.back(ref.Name, current, before)
	switch {
	case err != nil:
		return "", err
	case ref.Version == current:
		return "it is current", nil
	case ref.Version == previous:
		return "a rollback goes to it", nil
	case rank <= p.options.Keep:
		return fmt.Sprintf("it is one of the newest %d", p.options.Keep), nil
	}
	return p.options.InUse(ref), nil
}

// errKept is how remove learns that something uses the version after all.
type errKept string

// Error implements error.
func (e errKept) Error() string { return string(e) }

// remove removes a version, or in a dry run tells what that would free. The caller holds the image's lock.
func (p *pruning) remove(ref Ref) (Pruned, error) {
	u := &usage{} // the counts of names on the disk tell of earlier removals
	if p.options.DryRun {
		u = &p.dry
	}
	freed, err := u.freed(p.catalog.dir(ref))
	if err != nil {
		return Pruned{Ref: ref, Kept: "its size cannot be told"}, fmt.Errorf("images: prune %s: %w", ref, err)
	}
	if p.options.DryRun {
		return Pruned{Ref: ref, Freed: freed}, nil
	}
	err = p.catalog.remove(ref, func() error {
		// Whoever made it current or started it meanwhile is right.
		why, err := p.keep(ref, p.options.Keep+1)
		if err != nil {
			return err
		}
		if why != "" {
			return errKept(why)
		}
		return nil
	})
	var kept errKept
	switch {
	case errors.As(err, &kept):
		return Pruned{Ref: ref, Kept: string(kept)}, nil
	case errors.Is(err, fs.ErrNotExist):
		return Pruned{Ref: ref}, nil // somebody else was faster
	case errors.Is(err, fs.ErrExist):
		return Pruned{Ref: ref, Kept: "it is being packed at the moment"}, nil
	case err != nil:
		return Pruned{Ref: ref, Kept: "its removal failed"}, err
	}
	return Pruned{Ref: ref, Freed: freed}, nil
}
