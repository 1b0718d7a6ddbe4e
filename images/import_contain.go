package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// import_contain.go makes a stranger's root harmless for the machine that works on it. In the root itself the link
// etc -> /etc is good; whoever opens <tree>/etc/shadow from outside has another file in hand.

// contain rewrites every link that leads to a directory outside of the tree, seen from here, into the relative one
// that means the same in the root; and removes links to files outside where the kernel, its modules and
// firmware are read from: what they are goes to every machine.
func contain(ctx context.Context, tree string, log io.Writer) error {
	tree, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	const passes = 8 // a link may lead through another one
	for range passes {
		changed := 0
		err := filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if d.Type() != fs.ModeSymlink {
				return nil
			}
			did, err := containLink(tree, name, log)
			if did {
				changed++
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("images: %w", err)
		}
		if changed == 0 {
			return nil
		}
	}
	return fmt.Errorf("images: its links lead out of it in circles: %w", fs.ErrInvalid)
}

// earlyFiles are where files are read that machines get before they have the root.
var earlyFiles = []string{"boot/", "lib/modules/", "usr/lib/modules/", "lib/firmware/", "usr/lib/firmware/"}

// containLink does that with one link and reports whether it did anything.
func containLink(tree, link string, log io.Writer) (bool, error) {
	end, err := filepath.EvalSymlinks(link)
	if err != nil || below(tree, end) {
		return false, nil // it leads nowhere, or to where it may
	}
	info, err := os.Stat(end)
	if err != nil {
		return false, nil
	}
	name := strings.TrimPrefix(link, tree+"/")
	if !info.IsDir() {
		for _, dir := range earlyFiles {
			if strings.HasPrefix(name, dir) {
				fmt.Fprintf(log, "W: muster: removed the link %q, which leads out of the root\n", name)
				return true, os.Remove(link)
			}
		}
		return false, nil
	}
	target, err := os.Readlink(link)
	if err != nil {
		return false, err
	}
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	relative, err := filepath.Rel(path.Dir("/"+name), path.Clean(target))
	if err != nil {
		return false, err
	}
	if old, _ := os.Readlink(link); old == relative {
		return false, nil // it leads through another one
	}
	var st unix.Stat_t
	if err := unix.Lstat(link, &st); err != nil {
		return false, err
	}
	if err := os.Remove(link); err != nil {
		return false, err
	}
	return true, errors.Join(os.Symlink(relative, link), os.Lchown(link, int(st.Uid), int(st.Gid)))
}

// below reports whether a path is below dir, or dir itself.
func below(dir, name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// existsIn reports whether name is there, resolved as in the root itself.
func existsIn(tree, name string) bool {
	dir, err := unix.Open(tree, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// furniture are the directories that every root has, and what is done to a stranger's one takes for granted.
var furniture = map[string]os.FileMode{
	"boot": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o777 | os.ModeSticky,
	"usr": 0o755, "usr/lib": 0o755, "var": 0o755,
}

// furnish makes what container images leave out because their runtimes bring it, and what their makers do not need:
// mount points, a shadow file, os-release(5) where it belongs. What another machine's package manager fetched is
// dropped: the packages of the cache come from package sources alone.
func furnish(tree string) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	for name, mode := range furniture {
		if _, err := root.Stat(name); err == nil {
			continue
		}
		// A link that leads nowhere is in the way.
		if err := errors.Join(root.RemoveAll(name), root.MkdirAll(name, 0o755), root.Chmod(name, mode)); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	if _, err := root.Stat("etc/shadow"); err != nil {
		if err := replace(root, "etc/shadow", func() error { return root.WriteFile("etc/shadow", []byte("root:*:::::::\n"), 0o640) }); err != nil {
			return err
		}
	}
	const there = "usr/lib/os-release"
	if info, err := root.Lstat(there); err != nil || !info.Mode().IsRegular() {
		release, err := root.ReadFile("etc/os-release")
		if err != nil {
			release = []byte("ID=linux\n")
		}
		if err := replace(root, there, func() error { return root.WriteFile(there, release, 0o644) }); err != nil {
			return err
		}
	}
	return removeAll(tree, []string{"var/cache/apt/archives/*.deb", "var/cache/apt/archives/partial/*", "boot/vmlinuz-*-rescue-*"})
}

// unifyLib lets usr/lib have the modules and firmware of a root whose /lib is a directory of its own.
func unifyLib(tree string) error {
	for _, name := range []string{"modules", "firmware"} {
		if info, err := os.Stat(filepath.Join(tree, "lib", name)); err != nil || !info.IsDir() {
			continue
		}
		to := filepath.Join(tree, "usr/lib", name)
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			if err := os.Symlink("../../lib/"+name, to); err != nil {
				return fmt.Errorf("images: %w", err)
			}
		}
	}
	return nil
}
