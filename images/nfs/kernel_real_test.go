package nfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/images/nfs"
	"muster/images/nfs/nfstest"
)

// TestKernelForReal runs in a machine whose kernel has nfsd. Its parts share that machine: each must leave
// it as it was.
func TestKernelForReal(t *testing.T) {
	if !nfstest.InMachine() {
		needs(t, "qemu-system-x86_64", "depmod", "rpcbind", "mkfs.ext4", "ldd")
		nfstest.RunInMachine(t)
		return
	}
	for _, part := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"conforms", kernelConforms}, {"mounted below", kernelMountedBelow}, {"restart", kernelRestart},
		{"crash", kernelCrash}, {"refuses", kernelRefuses}, {"auto", kernelAuto}, {"beside another", kernelBesideAnother},
	} {
		t.Run(part.name, func(t *testing.T) {
			before := machineState(t)
			part.test(t)
			if after := machineState(t); after != before {
				t.Errorf("the machine is left with\n%swas\n%s", after, before)
			}
		})
	}
}

// machineState is what NFS servers leave behind on a machine.
func machineState(t *testing.T) string {
	t.Helper()
	out := "threads "
	b, _ := os.ReadFile("/proc/fs/nfsd/threads")
	if len(b) == 0 {
		b = []byte("0\n")
	}
	out += string(b) + "exports " + runs(t, "exportfs", "-s")
	files, _ := filepath.Glob("/etc/exports.d/*")
	return out + fmt.Sprintf("\nfiles %v\nmountd %v rpcbind %v\n", files, processes("rpc.mountd"), processes("rpcbind"))
}

func runs(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

// processes gives the ids of those that have the name and are alive.
func processes(name string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range all {
		b, _ := os.ReadFile(f)
		if strings.Contains(string(b), "("+name+")") && !containsZombie(b) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func kernel() *nfs.Kernel {
	return &nfs.Kernel{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00:77::/64")}

// serveKernel serves until stop, and waits until it is ready.
func serveKernel(t *testing.T, k *nfs.Kernel, exports ...nfs.Export) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := k.Set(ctx, exports); err != nil {
		t.Fatal(err)
	}
	var err error
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		err = k.Serve(ctx)
	}()
	end := func() {
		cancel()
		<-done
	}
	t.Cleanup(end) // a part that fails leaves the machine to the next
	ready, give := context.WithTimeout(ctx, patience)
	defer give()
	if e := k.Ready(ready); e != nil {
		end()
		t.Fatal(errors.Join(e, err))
	}
	return func() {
		t.Helper()
		if end(); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
}

// mountHere mounts with this machine's own client, without any cache.
func mountHere(t *testing.T, k nfs.Exports, path string) (target string) {
	t.Helper()
	m, err := k.Mount(path)
	if err != nil {
		t.Fatal(err)
	}
	return mountAt(t, m)
}

func mountAt(t *testing.T, m nfs.Mount) string {
	t.Helper()
	target := t.TempDir()
	opts := fmt.Sprintf("vers=3,nolock,noac,proto=tcp,port=%d,addr=127.0.0.1,mountproto=tcp,mountvers=3,mountport=%d,mountaddr=127.0.0.1", m.Port, m.MountPort)
	if err := unix.Mount("127.0.0.1:"+m.Path, target, "nfs", 0, opts); err != nil {
		t.Fatalf("mount %s: %v", m.Path, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	return target
}

func wantFile(t *testing.T, name, want string) {
	t.Helper()
	if b, err := os.ReadFile(name); err != nil || string(b) != want {
		t.Errorf("%s has %q, %v; want %q", name, b, err, want)
	}
}

// directory makes one with a file of its name in it.
func directory(t *testing.T, path string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, "file"), []byte(filepath.Base(path)), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// kernelConforms is the suite with a server of ours. What is killed is first mountd, then all that
// nfs-server.service takes away when somebody stops it.
func kernelConforms(t *testing.T) {
	kills := 0
	t.Run("suite", func(t *testing.T) {
		nfstest.Run(t, t.TempDir(), func(t *testing.T) nfstest.Server {
			return nfstest.Server{Exports: kernel(), Kill: func() {
				if kills++; kills > 1 {
					runs(t, "rpc.nfsd", "0")
					runs(t, "exportfs", "-au")
					return
				}
				pids := processes("rpc.mountd")
				if len(pids) != 1 {
					t.Fatalf("rpc.mountd runs %d times", len(pids))
				}
				if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				runs(t, "exportfs", "-f") // the kernel has to ask mountd again
			}}
		})
	})
	if kills != 2 {
		t.Errorf("killed %d times, want 2", kills)
	}
}

// kernelMountedBelow checks that a file system that is mounted below an export, later, is served with it.
func kernelMountedBelow(t *testing.T) {
	dir := t.TempDir()
	below := directory(t, filepath.Join(dir, "www"))
	k := kernel()
	stop := serveKernel(t, k, nfs.Export{Path: dir, Clients: loopback, NoRootSquash: true})
	if err := unix.Mount("/dev/vdb", below, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	directory(t, filepath.Join(below, "volume"))
	wantFile(t, filepath.Join(mountHere(t, k, filepath.Join(below, "volume")), "file"), "volume")
	whole := mountHere(t, k, dir)
	wantFile(t, filepath.Join(whole, "www/volume/file"), "volume")
	if err := errors.Join(unix.Unmount(filepath.Join(whole, "www"), 0), unix.Unmount(whole, 0)); err != nil {
		t.Errorf("unmount: %v", err)
	}
	stop()
	// nfsd holds what it served until its caches are told.
	if err := unix.Unmount(below, 0); err != nil {
		t.Errorf("the volume is still in use: %v", err)
	}
}

// kernelRestart checks that a node which reads all the time only waits while Muster is restarted.
func kernelRestart(t *testing.T) {
	export := nfs.Export{Path: directory(t, t.TempDir()+"/root"), Clients: loopback}
	k := kernel()
	stop := serveKernel(t, k, export)
	m := mountHere(t, k, export.Path)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() { // ends after cancel, or with the first error
		for ctx.Err() == nil {
			if _, err := os.ReadFile(m + "/file"); err != nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	stop()
	stop = serveKernel(t, k, export)
	cancel()
	if err := <-read; err != nil {
		t.Errorf("a node that read during a restart got: %v", err)
	}
	if err := unix.Unmount(m, 0); err != nil {
		t.Error(err)
	}
	stop()
}

// autoOnly makes this test say what Auto picks.
const autoOnly = "MUSTER_NFS_AUTO"

// kernelAuto checks that the kernel's server is picked where it is, but not for a network namespace, whose
// clients it does not serve.
func kernelAuto(t *testing.T) {
	server, why, err := nfs.Auto(nfs.Options{Dir: t.TempDir()})
	if os.Getenv(autoOnly) != "" {
		fmt.Printf("picked %T %v\n", server, err)
		return
	}
	if _, is := server.(*nfs.Kernel); !is || err != nil {
		t.Errorf("Auto = %T (%s), %v; want the kernel's", server, why, err)
	}
	apart := exec.Command("/proc/self/exe", "-test.run", "^TestKernelForReal$/^auto$")
	apart.Env = append(os.Environ(), autoOnly+"=1")
	apart.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := apart.CombinedOutput()
	// nfs-ganesha is not installed here, and would be next.
	if err != nil || !strings.Contains(string(out), "picked <nil>") || !strings.Contains(string(out), "another network namespace") {
		t.Errorf("in a network namespace: %v\n%s", err, out)
	}
}

// serveKernelIn makes this test serve with the kernel until it is killed.
const serveKernelIn = "MUSTER_NFS_KERNEL_IN"

// kernelCrash kills a process that serves: its server goes on, and the next process has it.
func kernelCrash(t *testing.T) {
	if dir := os.Getenv(serveKernelIn); dir != "" {
		serveKernel(t, kernel(), nfs.Export{Path: dir + "/kept", Clients: loopback}, nfs.Export{Path: dir + "/dropped", Clients: loopback})
		directory(t, dir+"/ready")
		select {} // until it is killed
	}
	dir := t.TempDir()
	kept, dropped := directory(t, dir+"/kept"), directory(t, dir+"/dropped")
	us := exec.Command("/proc/self/exe", "-test.run", "^TestKernelForReal$/^crash$")
	us.Env = append(os.Environ(), serveKernelIn+"="+dir)
	us.Stdout, us.Stderr = os.Stdout, os.Stderr
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir + "/ready/file"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it did not come up")
		}
	}
	m := mountAt(t, nfs.Mount{Path: kept, Port: nfs.Port, MountPort: nfs.MountPort})
	if err := (kernel()).Serve(t.Context()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one on this machine: Serve = %v, want ErrExist", err)
	}
	if err := us.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait() // it was killed
	wantFile(t, m+"/file", "kept")
	k := kernel()
	stop := serveKernel(t, k, nfs.Export{Path: kept, Clients: loopback})
	wantFile(t, m+"/file", "kept")
	if out := runs(t, "exportfs", "-s"); strings.Contains(out, dropped) || !strings.Contains(out, kept) {
		t.Errorf("after the crash it exports\n%s", out)
	}
	if err := unix.Unmount(m, 0); err != nil {
		t.Error(err)
	}
	stop()
}

// kernelRefuses checks faults that only this server has.
func kernelRefuses(t *testing.T) {
	k := kernel()
	dir := directory(t, t.TempDir()+"/good")
	stop := serveKernel(t, k, nfs.Export{Path: dir, Clients: loopback})
	// What the kernel cannot export is an error, and is not exported.
	if err := k.Set(t.Context(), []nfs.Export{{Path: dir, Clients: loopback}, {Path: "/proc/fs", Clients: loopback}}); err == nil {
		t.Error("Set took a directory that the kernel cannot export")
	}
	if _, err := k.Mount("/proc/fs"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Mount of it = %v, want ErrNotExist", err)
	}
	wantFile(t, mountHere(t, k, dir)+"/file", "good")
	stop()
}

// kernelBesideAnother is the suite beside an NFS server of the machine's own, which has other ports and
// which must not notice.
func kernelBesideAnother(t *testing.T) {
	own := directory(t, t.TempDir()+"/own")
	if err := os.WriteFile("/etc/exports", []byte(own+" 127.0.0.1(ro,no_subtree_check,fsid=1)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	helper := exec.Command("rpcbind", "-f")
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat("/run/rpcbind.sock"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("rpcbind did not come up")
		}
	}
	runs(t, "exportfs", "-r")
	mountd := exec.Command("rpc.mountd", "--foreground", "--port", "12050")
	if err := mountd.Start(); err != nil {
		t.Fatal(err)
	}
	runs(t, "rpc.nfsd", "--port", "12049", "4")
	if err := os.WriteFile("/proc/fs/nfsd/v4_end_grace", []byte("Y"), 0); err != nil { // it runs since long
		t.Fatal(err)
	}
	m := mountAt(t, nfs.Mount{Path: own, Port: 12049, MountPort: 12050})
	wantFile(t, m+"/file", "own")

	before := machineState(t)
	t.Run("conforms", func(t *testing.T) {
		nfstest.Run(t, t.TempDir(), func(t *testing.T) nfstest.Server {
			// An operator has changed /etc/exports. Nodes mount with version 3.
			return nfstest.Server{Exports: kernel(), Kill: func() { runs(t, "exportfs", "-ra") }, Versions: []string{"3"}}
		})
	})
	if after := machineState(t); after != before {
		t.Errorf("the machine's own server is left with\n%swas\n%s", after, before)
	}
	wantFile(t, m+"/file", "own")
	t.Run("conflict", func(t *testing.T) {
		k := kernel()
		if err := k.Set(t.Context(), []nfs.Export{{Path: own, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}); err != nil {
			t.Fatal(err)
		}
		if err := k.Serve(t.Context()); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "not by Muster") {
			t.Errorf("Serve of what the machine exports = %v, want ErrExist", err)
		}
	})
	t.Run("leave", func(t *testing.T) {
		dir := directory(t, t.TempDir()+"/left")
		k := kernel()
		k.Leave = true
		stop := serveKernel(t, k, nfs.Export{Path: dir, Clients: loopback})
		node := mountHere(t, k, dir)
		stop()
		wantFile(t, node+"/file", "left")
		k = kernel()
		stop = serveKernel(t, k, nfs.Export{Path: dir, Clients: loopback})
		wantFile(t, node+"/file", "left")
		if err := unix.Unmount(node, 0); err != nil {
			t.Error(err)
		}
		stop()
	})
	if after := machineState(t); after != before {
		t.Errorf("the machine's own server is left with\n%swas\n%s", after, before)
	}
	wantFile(t, m+"/file", "own")

	if err := unix.Unmount(m, 0); err != nil {
		t.Error(err)
	}
	runs(t, "rpc.nfsd", "0")
	runs(t, "exportfs", "-au")
	for _, p := range []*exec.Cmd{mountd, helper} {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait() // it was told to end
	}
	_ = os.WriteFile("/etc/exports", nil, 0o644)
}
