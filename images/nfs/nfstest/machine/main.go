//go:build linux

// Command machine is /init of the suite's virtual machines: a client's, which connects to the test and does
// what it is told with the kernel's NFS client, and a server's, which runs a test. It is no part of Muster's
// product.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"muster/images/nfs/nfstest/wire"
)

func main() {
	err := run()
	fmt.Println("machine:", err)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// run makes this a machine, and does what its command line says.
func run() error {
	for target, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		if err := unix.Mount(kind, target, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	param, err := cmdline()
	if err != nil {
		return err
	}
	for _, m := range []string{"virtio_pci", "virtio_net", "af_packet", "nfsv3", "nfsv4", "overlay"} {
		if err := load(m); err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	if err := network(param["nfstest.address"]); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if param["nfstest.run"] != "" {
		return runTest(param["nfstest.run"])
	}
	for {
		conn, err := dial(param["nfstest.server"])
		if err != nil {
			return err
		}
		if err := serve(conn); err != nil {
			return err
		}
	}
}

// dial connects to the test, which may be on its way as well, or at its next part.
func dial(address string) (conn net.Conn, err error) {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if conn, err = net.DialTimeout("tcp", address, 5*time.Second); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// serve serves the test until it hangs up.
func serve(conn net.Conn) error {
	defer conn.Close()
	in, out := bufio.NewScanner(conn), json.NewEncoder(conn)
	in.Buffer(nil, 16<<20)
	held := map[string]*os.File{}
	for in.Scan() {
		var q wire.Request
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		var a wire.Answer
		if err := as(q.UID, func() error { return do(q, &a, held) }); err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return in.Err()
}

func cmdline() (map[string]string, error) {
	b, err := os.ReadFile("/proc/cmdline")
	param := map[string]string{}
	for _, f := range strings.Fields(string(b)) {
		k, v, _ := strings.Cut(f, "=")
		param[k] = v
	}
	return param, err
}

// load loads a module after those that it needs.
func load(name string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
	b, err := os.ReadFile(dir + "/modules.dep")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		file, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_") != name {
			continue
		}
		all := append([]string{file}, strings.Fields(deps)...)
		for i := len(all) - 1; i >= 0; i-- { // deepest last
			if err := insert(filepath.Join(dir, all[i])); err != nil {
				return fmt.Errorf("%s: %w", all[i], err)
			}
		}
		return nil
	}
	return nil // built in
}

func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

// as does something as another user, whose rights the file system checks: root passes most of them.
func as(uid int, fn func() error) error {
	if uid == 0 {
		return fn()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(uid); err != nil { // of this thread; the kernel takes the capabilities over files along
		return err
	}
	defer unix.Setfsuid(0)
	return fn()
}

// overlay makes a tree writable, as a node does with its root.
func overlay(lower, target string) error {
	dir := target + ".ram"
	for _, d := range []string{target, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(dir+"/upper", 0o755), os.Mkdir(dir+"/work", 0o755)); err != nil {
		return err
	}
	return unix.Mount("overlay", target, "overlay", 0, "lowerdir="+lower+",upperdir="+dir+"/upper,workdir="+dir+"/work")
}

// do executes one request.
func do(q wire.Request, a *wire.Answer, held map[string]*os.File) (err error) {
	switch q.Op {
	case wire.Mount:
		if err := os.MkdirAll(q.Path, 0o755); err != nil {
			return err
		}
		return unix.Mount(q.Source, q.Path, "nfs", 0, q.Options)
	case wire.Overlay:
		return overlay(q.Source, q.Path)
	case wire.Unmount:
		return unix.Unmount(q.Path, 0)
	case wire.Read:
		a.Data, err = os.ReadFile(q.Path)
	case wire.Write:
		return os.WriteFile(q.Path, q.Data, 0o644)
	case wire.List:
		var entries []os.DirEntry
		entries, err = os.ReadDir(q.Path)
		for _, e := range entries {
			a.Names = append(a.Names, e.Name())
		}
	case wire.Stat:
		return stat(q.Path, a)
	case wire.Chown:
		return os.Lchown(q.Path, 33, 33)
	case wire.DropACL:
		err := unix.Removexattr(q.Path, "system.posix_acl_access")
		if err == unix.ENODATA || err == unix.EOPNOTSUPP {
			return nil
		}
		return err
	case wire.Hold:
		held[q.Path], err = os.Open(q.Path)
	case wire.Release:
		return held[q.Path].Close()
	case wire.ReadHeld:
		// What the client has in memory proves nothing about the server.
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			return err
		}
		a.Data = make([]byte, q.Size)
		_, err = held[q.Path].ReadAt(a.Data, q.Offset)
	default:
		return fmt.Errorf("unknown request %q", q.Op)
	}
	return err
}

func stat(path string, a *wire.Answer) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	a.Mode, a.UID, a.GID, a.Rdev = st.Mode, st.Uid, st.Gid, st.Rdev
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := os.Readlink(path)
		a.Data = []byte(target)
		return err
	}
	return nil
}
