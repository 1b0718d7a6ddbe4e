package images

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Modes that embed.FS gives to everything, having lost the real ones. Files of exactly these modes get the
// usual ones instead: 0644, 0755 for directories and for files that begin with "#!".
const (
	embeddedFile = 0o444
	embeddedDir  = 0o555
)

// copyOverlay copies a tree over the root, with its modes and symbolic links, owned by root. Links in the
// root are followed (lib is a link to usr/lib), never out of it.
func copyOverlay(root *os.Root, overlay fs.FS) error {
	err := fs.WalkDir(overlay, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			return overlayDir(root, name, info.Mode())
		case fs.ModeSymlink:
			return overlayLink(root, overlay, name)
		case 0:
			return overlayFile(root, overlay, name, info.Mode())
		}
		return fmt.Errorf("%s: neither file, directory nor link", name)
	})
	if err != nil {
		return fmt.Errorf("images: overlay: %w", err)
	}
	return nil
}

// overlayDir makes a directory. One that exists keeps its mode, unless the overlay states one.
func overlayDir(root *os.Root, name string, mode fs.FileMode) error {
	if mode.Perm() == embeddedDir {
		if info, err := root.Stat(name); err == nil && info.IsDir() {
			return nil
		}
		mode = 0o755
	}
	if info, err := root.Stat(name); err != nil || !info.IsDir() {
		if err := root.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: is a directory in the overlay, and not in the image", name)
		} else if err != nil {
			return err
		}
	}
	return root.Chmod(name, mode.Perm()|mode&(fs.ModeSetgid|fs.ModeSticky))
}

func overlayLink(root *os.Root, overlay fs.FS, name string) error {
	target, err := fs.ReadLink(overlay, name)
	if err != nil {
		return err
	}
	if err := replaceable(root, name); err != nil {
		return err
	}
	return root.Symlink(target, name)
}

func overlayFile(root *os.Root, overlay fs.FS, name string, mode fs.FileMode) error {
	f, err := overlay.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if mode.Perm() == embeddedFile {
		mode = 0o644
		if begin, err := in.Peek(2); err == nil && string(begin) == "#!" {
			mode = 0o755
		}
	}
	if err := replaceable(root, name); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return root.Chmod(name, mode)
}

// replaceable removes what is at name, making its parent. A directory is not replaced by a file: that is a
// mistake in the overlay.
func replaceable(root *os.Root, name string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return fmt.Errorf("%s: is a directory in the image", name)
	}
	return root.Remove(name)
}
