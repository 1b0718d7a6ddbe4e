package images

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// cache.go keeps the packages that builds share. A package's time in the cache is that of the last build
// that used it.

const (
	cacheAgeDefault  = 60 * 24 * time.Hour
	cacheSizeDefault = 4 << 30
)

// keepPackages moves the packages of a tree into the cache and marks those that are installed in it as used
// now. It serves a build that failed as well: what it fetched is fetched once.
func keepPackages(tree, cache string, now time.Time) error {
	debs, err := matches(tree, "var/cache/apt/archives/*.deb")
	if err != nil {
		return err
	}
	used := installed(tree)
	for _, deb := range debs {
		kept := filepath.Join(cache, filepath.Base(deb))
		_, err := os.Stat(kept)
		fresh := errors.Is(err, fs.ErrNotExist)
		err = os.Rename(deb, kept)
		if errors.Is(err, syscall.EXDEV) && fresh {
			err = copyWhole(deb, kept)
		}
		if err == nil || errors.Is(err, syscall.EXDEV) {
			// Renaming a link to what is in the cache already leaves both names (rename(2)).
			err = os.Remove(deb)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("images: %w", err)
		}
		if fresh || used[filepath.Base(deb)] {
			_ = os.Chtimes(kept, now, now) // at worst it is fetched again some day
		}
	}
	return nil
}

// copyWhole copies a file so that a crash leaves no half of it under its name.
func copyWhole(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".copy-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, in)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// installed gives the file names, as apt spells them, of the packages in the tree's database.
func installed(tree string) map[string]bool {
	names := map[string]bool{}
	f, err := os.Open(filepath.Join(tree, "var/lib/dpkg/status"))
	if err != nil {
		return names
	}
	defer f.Close()
	fields := map[string]string{}
	flush := func() {
		if fields["Package"] != "" {
			names[debName(fields["Package"], fields["Version"], fields["Architecture"])] = true
		}
		clear(fields)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "":
			flush()
		case found && !strings.HasPrefix(key, " "):
			fields[key] = value
		}
	}
	flush()
	return names
}

// debName is apt's name for a package's file: the epoch's colon is escaped.
func debName(name, version, arch string) string {
	return name + "_" + strings.ReplaceAll(version, ":", "%3a") + "_" + arch + ".deb"
}

// tidyCache prunes the cache after a build. That it cannot is no reason to fail.
func (w *build) tidyCache() {
	err := pruneCache(w.archives(), cmp.Or(w.CacheAge, cacheAgeDefault), cmp.Or(w.CacheSize, cacheSizeDefault), time.Now(), w.progress.started)
	if err != nil {
		fmt.Fprintln(w.log, "W: muster: the package cache cannot be pruned:", err)
	}
}

// pruneCache removes packages that no build has used for age, and then the longest unused until the rest has
// at most size bytes. Those used since are left alone: they belong to builds under way.
func pruneCache(cache string, age time.Duration, size int64, now, since time.Time) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	type deb struct {
		path string
		size int64
		used time.Time
	}
	var debs []deb
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // another build removed it just now; or it is not ours
		}
		debs = append(debs, deb{filepath.Join(cache, e.Name()), info.Size(), info.ModTime()})
		total += info.Size()
	}
	slices.SortFunc(debs, func(a, b deb) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path)) })
	for _, d := range debs {
		old := now.Sub(d.used) > age
		if !d.used.Before(since) || !old && total <= size {
			break
		}
		if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("images: %w", err)
		}
		total -= d.size
	}
	return nil
}
