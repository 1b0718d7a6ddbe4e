package nfs_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"muster/images/nfs"
)

// serveIn makes a re-executed test binary serve until it is killed, with its files in that directory.
const serveIn = "MUSTER_NFS_SERVE_IN"

// patience is the deadline of every wait: far beyond what a busy machine needs.
const patience = time.Minute

// gone waits until no process has the id.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); len(b) > 0 && containsZombie(b) {
			return // dead; whoever inherited it has not waited yet
		}
		if time.Now().After(end) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// containsZombie reads the state in /proc/PID/stat.
func containsZombie(stat []byte) bool {
	for i := len(stat) - 1; i > 0; i-- {
		if stat[i] == ')' {
			return i+2 < len(stat) && stat[i+2] == 'Z'
		}
	}
	return false
}

// start serves one export and gives a function that stops it and returns Serve's error.
func start(t *testing.T, g *nfs.Ganesha) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := g.Set(ctx, []nfs.Export{{Path: g.Dir}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }() // ends with ctx
	ready, end := context.WithTimeout(ctx, patience)
	defer end()
	if err := g.Ready(ready); err != nil {
		t.Fatal(err)
	}
	return func() error {
		cancel()
		return <-done
	}
}

func TestGaneshaLeavesNothing(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind")
	dir := t.TempDir()
	stop := start(t, &nfs.Ganesha{Dir: dir})
	pid := ganeshaPID(t, dir)
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	gone(t, pid)
	for _, address := range []string{"127.0.0.1:2049", "127.0.0.1:111"} {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("%s still answers", address)
		}
	}
	if _, err := os.Stat("/run/rpcbind.sock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rpcbind's socket is left: %v", err)
	}
	// And the same once more, in the same directory.
	if err := start(t, &nfs.Ganesha{Dir: dir})(); err != nil {
		t.Errorf("second Serve = %v", err)
	}
}

func TestTwoGaneshasShareAnRpcbind(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind")
	stop := start(t, &nfs.Ganesha{Dir: t.TempDir()})
	if err := start(t, &nfs.Ganesha{Dir: t.TempDir(), Port: 12049, MountPort: 12050})(); err != nil {
		t.Errorf("second: %v", err)
	}
	if err := (&nfs.Ganesha{Dir: t.TempDir(), MountPort: 12050}).Serve(t.Context()); err == nil {
		t.Error("a second server started on a port that is taken")
	}
	if err := stop(); err != nil {
		t.Errorf("first: %v", err)
	}
}

func TestGaneshaDiesWithUs(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind")
	if dir := os.Getenv(serveIn); dir != "" {
		start(t, &nfs.Ganesha{Dir: dir})
		if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {} // until it is killed
	}
	dir := t.TempDir()
	us := exec.Command("/proc/self/exe", "-test.run", "^TestGaneshaDiesWithUs$")
	us.Env = append(os.Environ(), serveIn+"="+dir)
	us.Stdout, us.Stderr = os.Stdout, os.Stderr
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it did not come up")
		}
	}
	pid := ganeshaPID(t, dir)
	if err := us.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait() // it was killed
	gone(t, pid)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:111")
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(end) {
			t.Fatal("rpcbind lives on")
		}
	}
	if err := start(t, &nfs.Ganesha{Dir: dir})(); err != nil {
		t.Errorf("after the crash: %v", err)
	}
}
