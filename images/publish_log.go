package images

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LogFile is the build log in a version's directory, which the manifest does not cover: it is written to until
// after the version is there.
const LogFile = "build.log"

// logsKept is the number of logs that are kept of an image's builds. A version keeps its own in any case.
const logsKept = 10

// newLog makes the log of the next build of an image, <name>/build-<n>.log, and removes old ones. The number
// is the build's own: a build gets a version only when it succeeds. The caller holds the image's lock.
func (c *Catalog) newLog(name string) (*os.File, error) {
	logs, err := c.logs(name)
	if err != nil {
		return nil, err
	}
	n := 1
	if len(logs) > 0 {
		n = logs[len(logs)-1] + 1
	}
	for _, old := range logs[:max(0, len(logs)-logsKept+1)] {
		_ = os.Remove(c.logPath(name, old)) // the next build tries again
	}
	f, err := os.Create(c.logPath(name, n))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return f, nil
}

// keepLog makes the log of a build that of the version which its partial directory becomes. It is one file
// with two names: what is said later is in both.
func keepLog(log *os.File, partial string) error {
	if err := os.Link(log.Name(), filepath.Join(partial, LogFile)); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

func (c *Catalog) logPath(name string, n int) string {
	return filepath.Join(c.Dir, name, fmt.Sprintf("build-%d.log", n))
}

// logs gives the numbers of the logs that there are, rising.
func (c *Catalog) logs(name string) ([]int, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("images: %q is not an image name: %w", name, fs.ErrInvalid)
	}
	entries, err := os.ReadDir(filepath.Join(c.Dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	var all []int
	for _, e := range entries {
		number, is := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".log"), "build-")
		if n := versionOf(number); is && n > 0 && strings.HasSuffix(e.Name(), ".log") {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return all, nil
}

// Log opens the build log of a version; version 0 is that of the latest build, which may have failed. It gives
// the log's path. The error wraps fs.ErrNotExist when there is none.
func (c *Catalog) Log(ref Ref) (path string, err error) {
	if ref.Version == 0 {
		logs, err := c.logs(ref.Name)
		if err != nil {
			return "", err
		}
		if len(logs) == 0 {
			return "", fmt.Errorf("images: %q was never built here: muster image build %s: %w", ref, ref.Name, fs.ErrNotExist)
		}
		return c.logPath(ref.Name, logs[len(logs)-1]), nil
	}
	img, err := c.Find(ref)
	if err != nil {
		return "", err
	}
	path = filepath.Join(img.Dir, LogFile)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("images: the log of %s is gone: %w", ref, fs.ErrNotExist)
	}
	return path, nil
}

// newPartial gives the directory in which the next version of an image is made; what was left there by a crash
// is removed. The caller holds the image's lock.
func (c *Catalog) newPartial(name string) (string, error) {
	dir := filepath.Join(c.Dir, name, partialPrefix+"build")
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("images: %w", err)
	}
	return dir, nil
}
