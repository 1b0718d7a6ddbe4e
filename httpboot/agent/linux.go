package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Linux is the System of a real machine. The agent must be process 1, in an initramfs.
type Linux struct{}

// Mount implements System.
func (Linux) Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}

// MountFile implements System.
func (Linux) MountFile(file, target, fstype string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	loop, err := attach(f)
	if err != nil {
		return fmt.Errorf("loop device: %w", err)
	}
	// It detaches itself when the last one closes it: after this the mount is that one.
	defer loop.Close()
	return unix.Mount(loop.Name(), target, fstype, unix.MS_RDONLY, "")
}

// attach gives a loop device with f. Between finding a free one and taking it somebody else may be faster.
func attach(f *os.File) (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		config := &unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR}}
		copy(config.Info.File_name[:len(config.Info.File_name)-1], f.Name())
		err = unix.IoctlLoopConfigure(int(loop.Fd()), config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
}

// Unmount implements System.
func (Linux) Unmount(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// LoadModule implements System with finit_module(2). A compressed module is left to the kernel
// (CONFIG_MODULE_DECOMPRESS, Linux 5.17); the agent carries no decompressor.
func (Linux) LoadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return &os.PathError{Op: "finit_module", Path: file, Err: err}
}

// Kernel implements System.
func (Linux) Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// SetTime implements System. The hardware clock is left to the image's time service.
func (Linux) SetTime(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	return unix.Settimeofday(&tv)
}

// SetHostname implements System.
func (Linux) SetHostname(name string) error { return unix.Sethostname([]byte(name)) }

// Reboot implements System. It refuses where it is not process 1: a test run on a workstation must not
// restart it.
func (Linux) Reboot() error {
	if os.Getpid() != 1 {
		return errors.New("agent: not process 1: no restart")
	}
	within(syncTime, unix.Sync)
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// syncTime is how long a restart waits for what is still to be written: for ever would be for a volume whose
// server is away, which sync(2) waits for.
const syncTime = 30 * time.Second

// within calls fn, and waits for its end for d at most; fn then goes on by itself.
func within(d time.Duration, fn func()) {
	done := make(chan struct{})
	go func() { // ends with fn, or with the machine
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// As implements System. Only fn's own thread changes its user, and only towards file systems (setfsuid(2)).
func (Linux) As(uid int, fn func() error) error {
	runtime.LockOSThread() // undone only when the thread is root's again; otherwise it ends with its goroutine
	root, err := unix.SetfsuidRetUid(uid)
	if err != nil {
		return err
	}
	defer func() {
		unix.SetfsuidRetUid(root)
		// The call itself never fails; it returns whose the thread was before.
		if now, err := unix.SetfsuidRetUid(root); err == nil && now == root {
			runtime.UnlockOSThread()
		}
	}()
	if now, _ := unix.SetfsuidRetUid(uid); now != uid {
		return fmt.Errorf("act as user %d: %w", uid, os.ErrPermission)
	}
	return fn()
}

// SwitchRoot implements System. Until the first file system has moved nothing is lost, and it may be
// called again; after that an error means that the machine can only restart.
func (Linux) SwitchRoot(root, init string, args []string) error {
	if os.Getpid() != 1 {
		return errors.New("agent: not process 1: no switch_root")
	}
	for _, dir := range apiDirs {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, root+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := freeInitramfs(); err != nil {
		// A few MB stay in use: a pity, and no reason to fail a boot.
		fmt.Fprintln(os.Stderr, "muster: initramfs kept:", err)
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", root, err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux", "HOME=/"}
	return &os.PathError{Op: "exec", Path: init, Err: unix.Exec(init, append([]string{init}, args...), env)}
}

// freeInitramfs deletes what the kernel unpacked, which is RAM. It touches nothing but a root that is a
// ramfs or tmpfs, and never crosses into a mounted file system.
func freeInitramfs() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return err
	}
	if fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("/ is no initramfs (type %#x)", fs.Type)
	}
	var st unix.Stat_t
	if err := unix.Lstat("/", &st); err != nil {
		return err
	}
	return removeTree("/", st.Dev)
}

func removeTree(dir string, dev uint64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := strings.TrimSuffix(dir, "/") + "/" + e.Name()
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != dev {
			continue
		}
		if e.IsDir() {
			errs = append(errs, removeTree(path, dev))
		}
		// A directory that still holds a mount stays, as it must.
		if err := os.Remove(path); err != nil && !e.IsDir() {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
