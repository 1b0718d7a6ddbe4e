package pair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

// System is what this package does to the machine besides reading and writing files. Linux is the real one; tests
// record.
type System interface {
	// Run runs a program and gives what it printed. One that fails is an *ExitError. Env are added to the process's
	// own environment.
	Run(ctx context.Context, env []string, name string, args ...string) (string, error)
	// Daemon runs a program that puts itself into the background, and waits until it has.
	Daemon(ctx context.Context, name string, args ...string) error
	// Kill is kill(2).
	Kill(pid int, sig unix.Signal) error
	// Mount is mount(2).
	Mount(source, target, fstype string, flags uintptr, data string) error
	// MountFile mounts the squashfs in a file, read-only.
	MountFile(file, target string) error
	// Bind mounts a directory at a second place, whatever its name leads to by now.
	Bind(dir *os.File, target string) error
	// Unmount is umount(2): it fails while something is in use.
	Unmount(target string) error
	// Capacity gives the bytes of a mounted file system, and those in use.
	Capacity(dir string) (total, used int64, err error)
	// Exclusive says whether nobody holds a block device: neither a mount, nor the kernel, nor a program that asked
	// for that.
	Exclusive(device string) error
	// Socket gives a listening TCP socket for the kernel's NFS server.
	Socket(port int) (*os.File, error)
}

// Network is what this package does to the NIC.
type Network interface {
	// Find gives the NIC that has an address; "" for none.
	Find(addr netip.Addr) (nic string, err error)
	// AddAddress, RemoveAddress: no error when it is so already.
	AddAddress(nic string, addr netip.Prefix) error
	RemoveAddress(nic string, addr netip.Prefix) error
	// Announce tells the segment that addr is here now (RFC 5227 §2.3).
	Announce(nic string, addr netip.Addr) error
}

// ExitError is a program that failed.
type ExitError struct {
	// Command is what was run, Code its exit code, -1 when it was killed or could not be started.
	Command string
	Code    int
	// Output is the last that it printed.
	Output string
}

func (e *ExitError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: exit %d", e.Command, e.Code)
	}
	return fmt.Sprintf("%s: exit %d: %s", e.Command, e.Code, e.Output)
}

// Linux is the System of a real machine.
type Linux struct{}

// Run implements System.
func (Linux) Run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(c.Environ(), "LC_ALL=C")
	c.Env = append(c.Env, env...)
	c.WaitDelay = time.Second // somebody in the background may have its output still open
	out, err := c.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return text, nil
	}
	return text, exitError(c, err, text)
}

func exitError(c *exec.Cmd, err error, text string) error {
	const most = 300
	e := &ExitError{Command: strings.Join(c.Args, " "), Code: -1, Output: text[max(0, len(text)-most):]}
	if c.ProcessState != nil {
		e.Code = c.ProcessState.ExitCode()
	}
	if e.Code < 0 && e.Output == "" {
		e.Output = err.Error()
	}
	return e
}

// Daemon implements System. Nothing of this process is left open in the program.
func (Linux) Daemon(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	if err := c.Run(); err != nil {
		return exitError(c, err, "")
	}
	return nil
}

// Kill implements System.
func (Linux) Kill(pid int, sig unix.Signal) error { return unix.Kill(pid, sig) }

// Mount implements System.
func (Linux) Mount(source, target, fstype string, flags uintptr, data string) error {
	return mountError("mount", target, unix.Mount(source, target, fstype, flags, data))
}

// MountFile implements System.
func (Linux) MountFile(file, target string) error {
	return mountError("mount "+file+" on", target, agent.Linux{}.MountFile(file, target, "squashfs"))
}

// Bind implements System.
func (Linux) Bind(dir *os.File, target string) error {
	return mountError("mount "+dir.Name()+" on", target, unix.Mount(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), target, "", unix.MS_BIND, ""))
}

// Unmount implements System.
func (Linux) Unmount(target string) error {
	return mountError("unmount", target, unix.Unmount(target, unix.UMOUNT_NOFOLLOW))
}

func mountError(op, path string, err error) error {
	if err != nil {
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// Capacity implements System.
func (Linux) Capacity(dir string) (total, used int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	size := int64(st.Bsize)
	return int64(st.Blocks) * size, int64(st.Blocks-st.Bavail) * size, nil
}

// Exclusive implements System.
func (Linux) Exclusive(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Socket implements System. (The standard library's listeners speak MPTCP, which nfsd does not take.)
func (Linux) Socket(port int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "nfs")
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	if err == nil {
		err = unix.Listen(fd, 64)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("listen on TCP port %d: %w", port, err)
	}
	return f, nil
}

// LinuxNetwork is the Network of a real machine.
type LinuxNetwork struct{ agent.LinuxNetwork }

// Find implements Network.
func (LinuxNetwork) Find(addr netip.Addr) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		have, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range have {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
				return i.Name, nil
			}
		}
	}
	return "", nil
}
