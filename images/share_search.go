package images

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// searchOthers looks in every version of every image for files that share nothing yet: those of the same
// image first, the newest first. Manifests are read line by line; only what is looked for is in memory.
func (s *sharer) searchOthers(ctx context.Context, entries []entry) error {
	q := search{sharer: s, wanted: map[[32]byte][]*entry{}, seen: map[string]bool{}}
	for i := range entries {
		if e := &entries[i]; e.own && !(s.how.Load() == shareLinks && mustBeOwn(e.path)) {
			q.wanted[e.sum] = append(q.wanted[e.sum], e)
		}
	}
	names, err := s.catalog.names()
	if err != nil {
		return err
	}
	slices.SortStableFunc(names, func(a, b string) int { // false before true: the same image first
		return strings.Compare(strconv.FormatBool(a != s.name), strconv.FormatBool(b != s.name))
	})
	for _, name := range names {
		versions, err := s.catalog.versions(name)
		if err != nil {
			return err
		}
		for _, v := range slices.Backward(versions) {
			if len(q.wanted) == 0 || s.how.Load() == shareNothing {
				return nil
			}
			if err := q.version(ctx, Ref{name, v}); err != nil {
				return err
			}
		}
	}
	return nil
}

// search is what is looked for, and where it was looked for already.
type search struct {
	*sharer
	wanted map[[32]byte][]*entry // by content
	seen   map[string]bool       // digests of directories, in hex
}

// version looks through one version. That it cannot be read, or is removed meanwhile, is no error.
func (q *search) version(ctx context.Context, ref Ref) error {
	dir, err := os.Open(q.catalog.dir(ref))
	if err != nil {
		return nil
	}
	defer dir.Close()
	r, err := openManifest(filepath.Join(dir.Name(), ManifestFile))
	if err != nil {
		return nil
	}
	defer r.close()
	var found []match
	taken := map[*entry]bool{}
	skip := "" // begins the paths of a directory that was looked through
	for r.sc.Scan() {
		line := r.sc.Bytes()
		kind, sum, path := lineFields(line)
		if skip != "" && strings.HasPrefix(path, skip) {
			continue
		}
		switch kind {
		case 'd':
			if skip = ""; q.seen[sum] {
				// Without the closing quote; nothing about a directory's name changes in its children's.
				skip = strings.TrimSuffix(path[:quotedLen(path)], `"`) + "/"
			}
			q.seen[strings.Clone(sum)] = true
		case 'f':
			var key [32]byte
			if _, err := hex.Decode(key[:], []byte(sum)); err != nil || q.wanted[key] == nil {
				continue
			}
			old, err := parseEntry(string(line))
			if err != nil {
				continue
			}
			for _, e := range q.wanted[key] {
				if !taken[e] && e.size == old.size && sameAttributes(e, &old) {
					taken[e] = true
					found = append(found, match{e, candidate{dir, ref, old.path}})
				}
			}
		}
	}
	return q.shareAll(ctx, found)
}

// match is a new file and a published one that should be the same.
type match struct {
	e *entry
	c candidate
}

// shareAll shares what was found, by several workers, which end before it returns.
func (q *search) shareAll(ctx context.Context, found []match) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan match)
	g.Go(func() error {
		defer close(work)
		for _, m := range found {
			select {
			case work <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers() {
		g.Go(func() error {
			w := newScanWorker(ctx, nil)
			for m := range work {
				q.shareMatch(w, m)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, m := range found {
		if m.e.own {
			continue
		}
		left := slices.DeleteFunc(q.wanted[m.e.sum], func(e *entry) bool { return e == m.e })
		if q.wanted[m.e.sum] = left; len(left) == 0 {
			delete(q.wanted, m.e.sum)
		}
	}
	return nil
}

func (q *search) shareMatch(w *scanWorker, m match) {
	if w.open(filepath.Join(q.partial, m.e.path)) != nil {
		return
	}
	defer unix.Close(w.fd)
	err := q.share(w, m.e, m.c)
	if w.differs {
		q.report(m.c, err) // both have the same digest
	}
	m.e.own = err != nil
}

// lineFields gives a line's kind, the digest of a file or directory, and what begins with the quoted path.
// It is for lines that were checked before, or will be: garbage gives garbage.
func lineFields(b []byte) (kind byte, sum, path string) {
	line := string(b)
	if line == "" {
		return 0, "", ""
	}
	words := 3
	if line[0] == 'f' {
		words = 4 // the size
	}
	rest := line
	for range words {
		_, rest, _ = strings.Cut(rest, " ")
	}
	if line[0] == 'f' || line[0] == 'd' {
		sum, rest, _ = strings.Cut(rest, " ")
		return line[0], sum, rest
	}
	if i := quotedLen(rest); i > 0 { // a link's target
		return line[0], "", strings.TrimPrefix(rest[i:], " ")
	}
	_, rest, _ = strings.Cut(rest, " ")
	return line[0], "", rest
}

// quotedLen is the length of the quoted string that s begins with; 0 for none.
func quotedLen(s string) int {
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return 0
	}
	return len(q)
}
