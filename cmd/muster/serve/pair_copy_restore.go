package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"muster/httpboot/agent/pair"
	"muster/images"
	"muster/roles"
	"muster/roles/api"
)

// Restore has the active half of a pair take directories from the archive r. Nobody may have them mounted, and what is
// there stays unless q lets it go.
func (s *server) Restore(ctx context.Context, pool string, q api.RestoreRequest, r io.Reader) (note string, err error) {
	var paths []pair.CopyPath
	for i := range q.From {
		paths = append(paths, pair.CopyPath{From: q.From[i], To: q.To[i]})
	}
	v, err := s.registry.Pair(pool)
	if err != nil {
		return "", err
	}
	h, err := v.RestoreHalf()
	if err != nil {
		return "", err
	}
	if err := checkCopyPaths(paths); err != nil {
		return "", err
	}
	unused := func() error { return s.unused(pool, paths) }
	if err := unused(); err != nil {
		return "", err
	}
	j, err := s.copies.begin(pool, h, pair.Copy{Kind: pair.CopyRestore, Paths: paths, Replace: q.Replace})
	if err != nil {
		return "", err
	}
	defer s.copies.end(pool, j)
	begin, size := time.Now(), int64(0)
	err = s.watchCopy(ctx, pool, j, func(tick <-chan time.Time) (bool, error) {
		if err := unused(); err != nil {
			return false, err // somebody was switched on meanwhile
		}
		p, err := readPiece(r)
		if err != nil {
			return false, err
		}
		for {
			select {
			case j.pieces <- p:
				size += int64(len(p.Data))
				return !p.End, nil
			case <-j.done:
				return true, nil
			case <-ctx.Done():
				return false, ctx.Err()
			case <-tick:
				if err := s.copyAlive(pool, j, begin); err != nil {
					return false, err
				}
			}
		}
	})
	var to []string
	for _, p := range paths {
		to = append(to, p.To)
	}
	note = fmt.Sprintf("%.1f MiB in %.1f s; %s", float64(size)/(1<<20), time.Since(begin).Seconds(), clip(j.note()))
	s.noteCopy(ctx, h.Slot, "restore of "+strings.Join(to, ", "), note, err)
	return note, err
}

// readPiece reads the next piece of an archive.
func readPiece(r io.Reader) (pair.CopyPiece, error) {
	b := make([]byte, pair.CopyPieceSize)
	n, err := io.ReadFull(r, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return pair.CopyPiece{Data: b[:n], End: true}, nil
	case err != nil:
		return pair.CopyPiece{}, fmt.Errorf("the archive broke off on its way: %w", err)
	}
	return pair.CopyPiece{Data: b}, nil
}

func checkCopyPaths(paths []pair.CopyPath) error {
	if len(paths) == 0 {
		return fmt.Errorf("nothing is named that is to be restored: %w", fs.ErrInvalid)
	}
	seen := map[string]bool{}
	for _, p := range paths {
		if err := errors.Join(pair.CheckCopyPath(p.From), pair.CheckCopyPath(p.To)); err != nil {
			return err
		}
		if seen[p.From] || seen["to "+p.To] {
			return fmt.Errorf("%s is named twice: %w", p.To, fs.ErrInvalid)
		}
		seen[p.From], seen["to "+p.To] = true, true
	}
	return nil
}

// unused says which nodes have one of these directories mounted, or may have. A node is known not to when it is off.
func (s *server) unused(pool string, paths []pair.CopyPath) error {
	users, err := s.pairUsers(pool)
	if err != nil {
		return err
	}
	used := map[string][]string{} // by path
	err = s.store.View(func(tx roles.Tx) error {
		clear(used)
		for _, u := range users {
			for _, slot := range u.slots {
				if n, ok := tx.Nodes().Get(slot.Node); !ok || n.State == roles.StateOff {
					continue
				}
				for _, p := range paths {
					if u.mounts(slot, p.To) && !slices.Contains(used[p.To], slot.Name) {
						used[p.To] = append(used[p.To], slot.Name)
					}
				}
			}
		}
		return nil
	})
	for path, by := range used {
		err = errors.Join(err, fmt.Errorf("%s is in use by %s: switch off who uses it first (muster node power NODE off), or restore it beside with --into: %w", path, strings.Join(by, ", "), fs.ErrExist))
	}
	return err
}

// mounts says whether the node in a slot mounts a directory of the pair.
func (u pairUser) mounts(slot roles.Slot, path string) bool {
	return path == "state/"+slot.Name && len(u.role.State) > 0 ||
		slices.ContainsFunc(u.role.Volumes, func(v roles.VolumeMount) bool { return images.VolumePath(v.Name) == path })
}
