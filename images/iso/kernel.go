package iso

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// takeKernel puts the kernel that lies beside the squashfs into a root that has none: live systems keep it
// there alone. It must be the one that the root has modules for.
func (d *disc) takeKernel(files []entry, root entry, dir string, log io.Writer) error {
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) > 0 {
			return err
		}
	}
	for _, e := range files {
		if path.Dir(e.path) != path.Dir(root.path) || !strings.HasPrefix(strings.ToLower(path.Base(e.path)), "vmlinuz") {
			continue
		}
		release, err := kernelRelease(d.open(e))
		if err != nil {
			fmt.Fprintf(log, "W: muster: %s: %v\n", e.path, err)
			continue
		}
		if !hasModules(dir, release) {
			fmt.Fprintf(log, "I: muster: the root has no modules for the kernel %s (%s)\n", e.path, release)
			continue
		}
		fmt.Fprintf(log, "I: muster: the kernel is %s (%s)\n", e.path, release)
		return d.writeKernel(e, dir, release)
	}
	return nil // images says what that means
}

func (d *disc) writeKernel(e entry, dir, release string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll("boot", 0o755); err != nil {
		return fmt.Errorf("/boot: %w", err)
	}
	f, err := root.OpenFile("boot/vmlinuz-"+release, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("/boot: %w", err)
	}
	_, err = io.Copy(f, d.open(e))
	return errors.Join(err, f.Close())
}

func hasModules(dir, release string) bool {
	for _, lib := range []string{"usr/lib/modules", "lib/modules"} {
		if info, err := os.Lstat(filepath.Join(dir, lib, release)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// kernelRelease reads the version from a bzImage's header (the x86 boot protocol, kernel_version at 0x20e).
func kernelRelease(r io.ReaderAt) (string, error) {
	no := fmt.Errorf("it is not a Linux kernel: %w", fs.ErrInvalid)
	head := make([]byte, 64<<10)
	if n, err := r.ReadAt(head, 0); err != nil && err != io.EOF || n < 0x210 {
		return "", no
	}
	at := 0x200 + int(head[0x20e]) + int(head[0x20f])<<8
	if string(head[0x202:0x206]) != "HdrS" || at >= len(head) {
		return "", no
	}
	release, _, _ := bytes.Cut(head[at:], []byte(" "))
	if s := string(release); s != "" && len(s) < 128 && s == path.Base(s) && !strings.ContainsRune(s, 0) && s[0] != '.' {
		return s, nil
	}
	return "", no
}
