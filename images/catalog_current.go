package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// historyFile has the versions of an image that were current, one a line, the last one at the end: Rollback's
// way back. What is current is not in it, except after a crash in the middle of a switch; readers pass it
// over, and so the link alone decides.
const historyFile = "history"

// historyKept bounds the way back.
const historyKept = 32

// SetCurrent makes a published version the one that its name alone means. Readers see the old or the new
// one, never none. What was current before is what Rollback goes back to.
func (c *Catalog) SetCurrent(ref Ref) error {
	if ref.Version == 0 {
		return fmt.Errorf("images: %q names no version (want %s:N): %w", ref, ref.Name, fs.ErrInvalid)
	}
	if _, err := c.Find(ref); err != nil {
		return err
	}
	unlock, err := c.switching(ref.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := c.Find(ref); err != nil {
		return err // removed while we waited
	}
	current, err := c.current(ref.Name)
	if err != nil || current == ref.Version {
		return err
	}
	if current > 0 {
		before, err := c.history(ref.Name, current)
		if err != nil {
			return err
		}
		// Before the switch: a history that has what is still current is as good as one that has not.
		if err := c.setHistory(ref.Name, append(before, current)); err != nil {
			return err
		}
		crashPoint("history")
	}
	return c.point(ref)
}

// point switches the link.
func (c *Catalog) point(ref Ref) error {
	dir := filepath.Join(c.Dir, ref.Name)
	tmp := filepath.Join(dir, partialPrefix+currentLink)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("images: %w", err)
	}
	if err := os.Symlink(strconv.Itoa(ref.Version), tmp); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	crashPoint("link made")
	if err := os.Rename(tmp, filepath.Join(dir, currentLink)); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	crashPoint("switched")
	return syncDir(dir)
}

// Rollback makes the version current that was current before, and gives it; where that is gone, the one before
// it, and at last the next older version that there is. Each further call goes further back: a version that
// was rolled back from does not return by itself. The error wraps fs.ErrNotExist when there is none.
func (c *Catalog) Rollback(name string) (Image, error) {
	if versions, err := c.versionsOf(name); err != nil {
		return Image{}, err
	} else if len(versions) == 0 {
		return Image{}, c.missing(Ref{Name: name})
	}
	unlock, err := c.switching(name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	current, err := c.current(name)
	if err != nil {
		return Image{}, err
	}
	before, err := c.history(name, current)
	if err != nil {
		return Image{}, err
	}
	target, rest, err := c.back(name, current, before)
	if err != nil {
		return Image{}, err
	}
	if target == 0 {
		return Image{}, fmt.Errorf("images: %s has no version before %s: %w", name, Ref{name, current}, fs.ErrNotExist)
	}
	if err := c.point(Ref{name, target}); err != nil {
		return Image{}, err
	}
	crashPoint("rolled back")
	if err := c.setHistory(name, rest); err != nil {
		return Image{}, err
	}
	return c.Find(Ref{name, target})
}

// back gives the version that a rollback goes to, 0 for none, and what of the history is left then.
func (c *Catalog) back(name string, current int, before []int) (target int, rest []int, err error) {
	versions, err := c.versions(name)
	if err != nil {
		return 0, nil, err
	}
	for i, v := range slices.Backward(before) {
		if slices.Contains(versions, v) {
			return v, before[:i], nil
		}
	}
	for _, v := range slices.Backward(versions) {
		if v < current {
			return v, nil, nil
		}
	}
	return 0, nil, nil
}

// history gives the versions that were current, the last one at the end; current itself is not among the last.
func (c *Catalog) history(name string, current int) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(c.Dir, name, historyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	var all []int
	for line := range strings.Lines(string(b)) {
		if v := versionOf(strings.TrimSuffix(line, "\n")); v > 0 {
			all = append(all, v)
		}
	}
	for len(all) > 0 && all[len(all)-1] == current {
		all = all[:len(all)-1]
	}
	return all, nil
}

// setHistory replaces the history, durably.
func (c *Catalog) setHistory(name string, all []int) error {
	var b strings.Builder
	for _, v := range all[max(0, len(all)-historyKept):] {
		fmt.Fprintln(&b, v)
	}
	return replaceFile(filepath.Join(c.Dir, name, historyFile), []byte(b.String()))
}
