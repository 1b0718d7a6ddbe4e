package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel flavours of a recipe.
const (
	// KernelFull has every driver that Debian builds: for machines.
	KernelFull = "full"
	// KernelCloud has those of virtual machines only; its initrd is a fifth of the size.
	KernelCloud = "cloud"
)

// arch is the only processor that images are built for so far, as uname -m spells it.
const arch = "x86_64"

// spaceNeeded is what a build needs at its peak, in bytes: the tree of a full kernel (0.8 GB), its packages
// and a role's.
const spaceNeeded = 1500 << 20

// What may appear in a recipe; everything ends up in a command line.
var (
	packageRE = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)                   // Debian policy 5.6.7
	suiteRE   = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)                        // a code name
	serviceRE = regexp.MustCompile(`^[A-Za-z0-9:_][A-Za-z0-9:_.@\\-]{0,254}$`) // systemd.unit(5)
	mirrorRE  = regexp.MustCompile(`^(https?|file|copy|ftp)://?\S+$|^deb .+`)
)

// complete checks the recipe and fills in what it leaves open. It tells every fault.
func (r Recipe) complete(name string) (Recipe, error) {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("images: build %s: %s: %w", name, fmt.Sprintf(format, args...), fs.ErrInvalid))
	}
	check := func(ok bool, what, value, want string) {
		if !ok {
			fault("%s %q: want %s", what, value, want)
		}
	}
	if r.Kernel == "" && r.From == "" { // an imported root may have one
		r.Kernel = KernelFull
	}
	if r.Suite == "" {
		r.Suite = "bookworm"
	}
	check(ValidName(name), "name", name, "lower-case letters, digits and hyphens")
	check(r.Kernel == KernelFull || r.Kernel == KernelCloud || r.Kernel == "" && r.From != "", "kernel", r.Kernel, KernelFull+" or "+KernelCloud)
	check(suiteRE.MatchString(r.Suite), "suite", r.Suite, "a Debian code name")
	check(r.Mirror == "" || mirrorRE.MatchString(r.Mirror), "mirror", r.Mirror, "a URL, or lines of sources.list")
	for _, p := range r.Packages {
		check(packageRE.MatchString(p), "package", p, "a Debian package name")
	}
	for _, s := range r.Services {
		check(serviceRE.MatchString(s), "service", s, "a systemd unit")
	}
	r.checkInputs(fault)
	if r.Overlay != "" {
		info, err := os.Stat(r.Overlay)
		check(err == nil && info.IsDir(), "overlay", r.Overlay, "a directory")
	}
	return r, errors.Join(errs...)
}

// checkInputs checks what the recipe takes from elsewhere, and its time.
func (r Recipe) checkInputs(fault func(format string, args ...any)) {
	for _, line := range r.Sources {
		if wrong := checkLine(line); wrong != "" {
			fault("source %q: %s (want a line of sources.list: deb [options] URL suite component…)", line, wrong)
		}
	}
	for _, file := range r.Keys {
		if wrong := checkKey(file); wrong != "" {
			fault("key %q: %s (want a file on this server with the public keys of a source)", file, wrong)
		}
	}
	for i, h := range r.Hooks {
		if strings.TrimSpace(h) == "" || strings.ContainsRune(h, 0) {
			fault("hook %d is empty or holds a zero byte (want a script for /bin/sh)", i+1)
		}
	}
	if r.Epoch < 0 || r.Epoch > time.Now().Unix() {
		fault("epoch %d: want seconds since 1970, and no time to come", r.Epoch)
	}
}

// packages are all of the image's: systemd, a kernel with the firmware that the sources have for it, and the
// recipe's own.
func (r Recipe) packages(sources []string) []string {
	kernel := "linux-image-amd64"
	if r.Kernel == KernelCloud {
		kernel = "linux-image-cloud-amd64"
	}
	// systemd talks to its own tools over D-Bus; udev finds the hardware that the agent did not need.
	base := []string{"systemd", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", kernel}
	for _, p := range slices.Concat(firmwarePackages(r.Kernel, sources), r.Packages) {
		if !slices.Contains(base, p) {
			base = append(base, p)
		}
	}
	return base
}

// ready checks that a build can succeed here, before anything is made. It tells every fault.
func (b *Builder) ready() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("images: building needs root (mmdebstrap makes device nodes and other users' files): %w", fs.ErrPermission)
	}
	var errs []error
	if _, err := exec.LookPath(b.program()); err != nil {
		errs = append(errs, fmt.Errorf("images: %s is not installed: apt-get install mmdebstrap (make setup does): %w", b.program(), fs.ErrNotExist))
	}
	if info, err := os.Stat(b.Agent); err != nil || info.IsDir() {
		errs = append(errs, fmt.Errorf("images: the agent muster-init is not at %q: make build puts it beside muster: %w", b.Agent, fs.ErrNotExist))
	}
	for _, dir := range []string{b.Catalog.Dir, b.Cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			errs = append(errs, fmt.Errorf("images: %w", err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, space(b.Catalog.Dir, spaceNeeded))
	}
	return errors.Join(errs...)
}

// space checks that dir's file system has room.
func space(dir string, need uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("images: statfs %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("images: %s has %d MB free and a build needs %d MB: remove old versions or use a larger disk: %w", dir, free>>20, need>>20, unix.ENOSPC)
	}
	return nil
}
