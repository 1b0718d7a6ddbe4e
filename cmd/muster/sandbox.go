package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sandbox runs a command in a root that nothing can change: what is written goes to memory. All that it mounts is
// in a mount namespace of its own, and all that it starts dies with it; so nothing is left, however it ends.
type sandbox struct {
	// tree is the root file system, name what it is called ("web:8"), term the kind of terminal.
	tree, name, term string
	stdin            io.Reader
	stdout, stderr   io.Writer
}

// exitStatus is an exit code that muster passes on; what there was to say has been said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run runs args, or a shell, until it or ctx ends. The error is an exitStatus when the command ran and failed.
func (s sandbox) run(ctx context.Context, args []string) error {
	args, err := shellArgs(s.tree, args)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	// The goroutine ends with the command. Its thread, which has the namespace, is never given back: it ends with
	// the goroutine, unless it is the program's first one. So the mounts go by themselves.
	go func() {
		runtime.LockOSThread()
		root, err := s.mount()
		if err == nil {
			err = s.exec(ctx, root, args)
			// In its own namespace: what this machine has mounted there is not touched.
			for _, at := range []string{filepath.Dir(s.tree), nspawnDir} {
				_ = unix.Unmount(at, unix.MNT_DETACH)
			}
		}
		done <- err
	}()
	return <-done
}

// exec runs args in root, from the calling thread.
func (s sandbox) exec(ctx context.Context, root string, args []string) error {
	cmd := s.nspawn(ctx, root, args)
	if cmd == nil {
		if err := s.furnish(root); err != nil {
			return err
		}
		cmd = s.command(ctx, append([]string{"--ipc", "--root", root, "--"}, args...))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.stdin, s.stdout, s.stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if x := (*exec.ExitError)(nil); errors.As(err, &x) {
		if st := x.Sys().(syscall.WaitStatus); st.Signaled() {
			return exitStatus(128 + int(st.Signal()))
		}
		return exitStatus(x.ExitCode())
	}
	return err
}

// command is unshare with args: a child that dies with its parent, even when that is killed: with the thread that
// starts it, which lives as long as the program does here. Its own child is the first process of a PID namespace:
// when that dies, all others do.
func (s sandbox) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}, args...)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
		"TERM=" + cmp.Or(s.term, "dumb"),
		// Debian's bashrc shows it in the prompt.
		"debian_chroot=" + s.name,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A pipe that something in the background holds must not hold us.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// nspawnDir is where systemd-nspawn keeps directories of its own, which it removes only where they are in memory.
const nspawnDir = "/run/systemd/nspawn"

// nspawn is the command by systemd-nspawn; nil where that is not installed, or does not work: it needs cgroups,
// and more rights than a container of somebody else's may give.
func (s sandbox) nspawn(ctx context.Context, root string, args []string) *exec.Cmd {
	program, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return nil
	}
	console := "--console=pipe"
	if f, ok := s.stdin.(*os.File); ok && isTerminal(f) {
		console = "--console=interactive"
	}
	if err := os.MkdirAll(nspawnDir, 0o755); err != nil {
		return nil
	}
	if err := mountAt("muster-shell", nspawnDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return nil
	}
	base := []string{
		"--", program, "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--directory", root,
		"--machine", strings.ReplaceAll(s.name, ":", "-"), "--setenv=debian_chroot=" + s.name,
	}
	try := s.command(ctx, append(base[:len(base):len(base)], "--console=pipe", "--", "true"))
	if try.Run() != nil {
		return nil
	}
	return s.command(ctx, append(append(base, console, "--"), args...))
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// mount gives the calling thread a mount namespace of its own, and in it a root that is the tree with memory over
// it. It hides the version's directory, for this thread and its children: so no directory has to be made for it,
// which a kill would leave behind.
func (s sandbox) mount() (root string, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("a mount namespace: %w", err)
	}
	if err := mountAt("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", err
	}
	// Opened in this namespace: the kernel takes no lower directory of another one.
	tree, err := os.OpenFile(s.tree, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", err
	}
	defer tree.Close()
	dir := filepath.Dir(s.tree)
	if err := mountAt("muster-shell", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return "", err
	}
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return "", err
		}
	}
	root = filepath.Join(dir, "root")
	// By number: a path may hold what separates options. Without devices: those that an imported tree brings.
	o := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=upper,workdir=work", tree.Fd())
	return root, inDir(dir, func() error { return mountAt("muster-shell", "root", "overlay", unix.MS_NODEV, o) })
}

// inDir calls fn with dir as the working directory of the calling thread alone, which Unshare(CLONE_NEWNS) has made
// its own.
func inDir(dir string, fn func() error) error {
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return errors.Join(fn(), unix.Chdir("/"))
}

// furnish gives the root what a chroot lacks: devices, /sys, and the way to this machine's name servers.
func (s sandbox) furnish(root string) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, name := range []string{"proc", "sys", "dev"} {
		if err := r.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// A link could lead out of the root.
		if info, err := r.Lstat(name); err != nil || !info.IsDir() {
			return fmt.Errorf("/%s of %s is no directory: %w", name, s.name, errors.Join(err, fs.ErrInvalid))
		}
	}
	// Without /sys most programs work as well.
	_ = mountAt("sysfs", filepath.Join(root, "sys"), "sysfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if hosts, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		// In the memory over the image, and only for comfort: an image may have no /etc.
		_ = r.Remove("etc/resolv.conf")
		_ = r.WriteFile("etc/resolv.conf", hosts, 0o644)
	}
	return devices(filepath.Join(root, "dev"))
}

// devices makes a /dev with nothing in it that holds data: no disk of this machine is within reach.
func devices(dev string) error {
	if err := mountAt("muster-shell", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "ptmx"} {
		// A bind mount works where mknod is not allowed.
		at := filepath.Join(dev, name)
		if err := os.WriteFile(at, nil, 0o666); err != nil {
			return err
		}
		if err := mountAt("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"shm", "pts"} {
		if err := os.Mkdir(filepath.Join(dev, name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dev, "shm"), os.ModeSticky|0o777); err != nil {
		return err
	}
	// This machine's terminals: the one that the shell runs on is among them.
	return mountAt("/dev/pts", filepath.Join(dev, "pts"), "", unix.MS_BIND, "")
}

func mountAt(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", cmp.Or(kind, source, "private"), target, err)
	}
	return nil
}
