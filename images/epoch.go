package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// epoch.go gives an image a time of its own, so that building it again gives it again: no file is newer than
// its newest package, whenever it was built. See https://reproducible-builds.org/specs/source-date-epoch/.

// scriptEpoch is what packages' scripts see as SOURCE_DATE_EPOCH where the recipe names none: before the
// packages are there, nobody knows the newest one's date. What they make of it (shadow's dates) gets the
// image's epoch later.
const scriptEpoch = 946684800 // 2000-01-01

// findEpoch decides what time the image has.
func (w *build) findEpoch(ctx context.Context, tree string) (err error) {
	w.epoch = w.recipe.Epoch
	if w.epoch == 0 {
		debs, _ := filepath.Glob(filepath.Join(tree, "var/cache/apt/archives/*.deb"))
		used := installed(tree)
		w.epoch, err = packageEpoch(slices.DeleteFunc(debs, func(deb string) bool { return !used[filepath.Base(deb)] }))
	}
	if err == nil && w.epoch == 0 {
		w.epoch, err = treeEpoch(ctx, tree)
	}
	return err
}

// packageEpoch gives the date of the newest package among files: each is an ar archive whose first member has
// the date of the package's changelog. 0 when there is no package.
func packageEpoch(debs []string) (int64, error) {
	var newest int64
	for _, deb := range debs {
		f, err := os.Open(deb)
		if err != nil {
			return 0, fmt.Errorf("images: %w", err)
		}
		header := make([]byte, 8+60) // the magic, and the first member's header: ar(5)
		_, err = io.ReadFull(f, header)
		f.Close()
		if err != nil || string(header[:8]) != "!<arch>\n" {
			continue // apt would have refused it: it is a stranger's file
		}
		if date, err := strconv.ParseInt(strings.TrimSpace(string(header[24:36])), 10, 64); err == nil {
			newest = max(newest, date)
		}
	}
	return newest, nil
}

// treeEpoch gives the time of the newest file below tree, for a root that was imported.
func treeEpoch(ctx context.Context, tree string) (int64, error) {
	var newest int64
	err := eachPath(ctx, tree, func(_ string, st *unix.Stat_t) error {
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			newest = max(newest, st.Mtim.Sec)
		}
		return nil
	})
	return newest, err
}

// clamp makes nothing in dir newer than epoch.
func clamp(ctx context.Context, dir string, epoch int64) error {
	at := unix.Timespec{Sec: epoch}
	return eachPath(ctx, dir, func(path string, st *unix.Stat_t) error {
		if st.Mtim.Sec < epoch || st.Mtim == at {
			return nil
		}
		err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return &fs.PathError{Op: "utimensat", Path: path, Err: err}
		}
		return nil
	})
}

// eachPath calls fn for every path in dir and for dir, never following a link. A directory comes after what
// is in it.
func eachPath(ctx context.Context, dir string, fn func(path string, st *unix.Stat_t) error) error {
	var walk func(path string) error
	walk = func(path string) error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			names, err := readNames(path)
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			for _, name := range names {
				if err := walk(filepath.Join(path, name)); err != nil {
					return err
				}
			}
		}
		return fn(path, &st)
	}
	if err := walk(dir); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// shadowDates are the files whose third field is the day of a password's last change, since 1970.
var shadowDates = []string{"etc/shadow"}

// date gives the accounts that packages made the image's day. (0 would ask for a new password at once, and
// a day to come would be refused by some.)
func date(root *os.Root, epoch int64) error {
	day := strconv.FormatInt(max(1, epoch/int64((24*time.Hour).Seconds())), 10)
	for _, name := range shadowDates {
		b, err := root.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("images: %w", err)
		}
		lines := strings.Split(string(b), "\n")
		for i, line := range lines {
			if f := strings.Split(line, ":"); len(f) > 2 && f[2] != "" && f[2] != "0" {
				f[2] = day
				lines[i] = strings.Join(f, ":")
			}
		}
		if err := root.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o640); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	return nil
}
