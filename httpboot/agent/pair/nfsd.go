package pair

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel's NFS server is told by files (nfsd(7)).
const (
	nfsdDir     = "/proc/fs/nfsd"
	threadsFile = nfsdDir + "/threads"
	nfsPort     = 2049
	// threads are many for one machine's disk, and cost 10 KiB each.
	threads = "16\n"
	// lease is in seconds: how long clients' state lives without a word, and how long they may take to claim it back
	// after a takeover. Clients try to connect again every half of it.
	lease = "10\n"
)

// helpers are the programs beside nfsd: the first knows the clients of before, the second answers what is exported.
var helpers = []struct {
	name, path string
	args       []string
}{
	{"nfsdcld", "/usr/sbin/nfsdcld", nil},
	{"rpc.mountd", "/usr/sbin/rpc.mountd", []string{"--no-nfs-version", "3", "--no-udp", "--num-threads", "2"}},
}

// nfsMounts makes the file systems by which nfsd is told what to do.
func (m *machine) nfsMounts(ctx context.Context) error {
	if err := m.module(ctx, "nfsd", nfsdDir); err != nil {
		return err
	}
	for _, fs := range []struct{ kind, dir string }{{"nfsd", nfsdDir}, {"rpc_pipefs", "/run/rpc_pipefs"}} {
		if _, ok := m.mounted(fs.dir); ok {
			continue
		}
		if err := os.MkdirAll(m.path(fs.dir), 0o755); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
		if err := m.sys.Mount(fs.kind, m.path(fs.dir), fs.kind, 0, ""); err != nil {
			return err
		}
	}
	return nil
}

// startHelpers starts the helpers, which must not have seen another /var/lib/nfs before.
func (m *machine) startHelpers(ctx context.Context) error {
	for _, h := range helpers {
		if len(m.processes(h.name)) > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := m.sys.Daemon(ctx, h.path, h.args...)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// killTime is how long a helper may take to end by itself.
const killTime = 2 * time.Second

// stopHelpers ends them, for sure.
func (m *machine) stopHelpers(ctx context.Context) error {
	for deadline, sig := time.Now().Add(killTime), unix.SIGTERM; ; {
		var left []int
		for _, h := range helpers {
			left = append(left, m.processes(h.name)...)
		}
		if len(left) == 0 {
			return nil
		}
		for _, pid := range left {
			m.sys.Kill(pid, sig) // it may have ended just now
		}
		if time.Now().After(deadline) {
			if sig == unix.SIGKILL {
				return fmt.Errorf("pair: processes %v do not end", left)
			}
			deadline, sig = time.Now().Add(killTime), unix.SIGKILL
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// startNFS starts nfsd: versions 4.1 and 4.2 over TCP and nothing else. Roots are mounted by 4.1: with 4.2 a client asks
// for users' extended attributes, a squashfs without any refuses to list them, and an overlay on top of that writes
// nothing ("Unknown error 524").
func (m *machine) startNFS(ctx context.Context) error {
	if m.serving() {
		return nil
	}
	// Each by itself: a kernel does not know the old ones.
	for _, v := range []string{"-2", "-3", "+4", "-4.0", "+4.1", "+4.2"} {
		if err := m.tell(nfsdDir+"/versions", v+"\n"); err != nil && v[0] == '+' {
			return err
		}
	}
	for _, file := range []string{"/nfsv4leasetime", "/nfsv4gracetime"} {
		if err := m.tell(nfsdDir+file, lease); err != nil {
			return err
		}
	}
	if m.word(nfsdDir+"/portlist") == "" {
		s, err := m.sys.Socket(nfsPort)
		if err != nil {
			return fmt.Errorf("pair: %w", err)
		}
		defer s.Close()
		if err := m.tell(nfsdDir+"/portlist", fmt.Sprintf("%d\n", s.Fd())); err != nil {
			return err
		}
	}
	return m.tell(threadsFile, threads)
}

// serving says that nfsd runs.
func (m *machine) serving() bool {
	n := m.word(threadsFile)
	return n != "" && n != "0"
}

// stopNFS ends nfsd. Its threads may hang on a frozen volume, and this with them: not longer than it may.
func (m *machine) stopNFS(ctx context.Context, d time.Duration) error {
	if !m.serving() {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- m.tell(threadsFile, "0\n") }() // ends with the threads, or with the process
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		return fmt.Errorf("pair: nfsd has not ended within %s", d)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell writes to one of the kernel's files, in one write.
func (m *machine) tell(file, text string) error {
	f, err := os.OpenFile(m.path(file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("pair: %q to %s: %w", strings.TrimSpace(text), file, err)
	}
	return nil
}
