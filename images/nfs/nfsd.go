package nfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// nfsdDir is where the kernel's server is watched and told.
const nfsdDir = "/proc/fs/nfsd"

// nfsdThreads are the server's threads: a boot storm of 100 machines reads through them.
const nfsdThreads = 32

// claimPath is held with flock(2) while we serve. Its content, which ends with the machine's uptime, tells the
// next of us whether a server that it finds running is ours, left from a crash.
const claimPath = "/run/muster-nfsd"

// claimStarted is that content.
const claimStarted = "nfsd was started by Muster\n"

// claim is the right to drive the kernel's server.
type claim struct{ f *os.File }

// claimNFSD takes it. The error wraps fs.ErrExist when another process of ours has it.
func claimNFSD() (*claim, error) {
	f, err := os.OpenFile(claimPath, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("nfs: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("nfs: another Muster on this machine exports with the kernel's server: %w", fs.ErrExist)
		}
		return nil, fmt.Errorf("nfs: lock %s: %w", claimPath, err)
	}
	return &claim{f}, nil
}

// started says whether one of us started the server and did not stop it.
func (c *claim) started() bool {
	b, _ := os.ReadFile(claimPath)
	return string(b) == claimStarted
}

// note keeps whether we started it.
func (c *claim) note(started bool) error {
	if err := c.f.Truncate(0); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	if !started {
		return nil
	}
	if _, err := c.f.WriteAt([]byte(claimStarted), 0); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	return nil
}

func (c *claim) release() { c.f.Close() }

// mountNFSD makes nfsdDir there. It stays mounted, as rpc.nfsd and systemd leave it.
func mountNFSD() error {
	if _, err := os.Stat(filepath.Join(nfsdDir, "threads")); err == nil {
		return nil
	}
	if err := syscall.Mount("nfsd", nfsdDir, "nfsd", 0, ""); err != nil {
		return fmt.Errorf("nfs: mount nfsd on %s: %w", nfsdDir, err)
	}
	return nil
}

// nfsdRuns says whether the kernel's server has threads.
func nfsdRuns() bool {
	b, _ := os.ReadFile(filepath.Join(nfsdDir, "threads"))
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n > 0
}

// nfsdPort is the TCP port on which it listens; 0: none.
func nfsdPort() int {
	b, _ := os.ReadFile(filepath.Join(nfsdDir, "portlist"))
	return listedPort(string(b))
}

// listedPort reads portlist: "tcp 2049", a line for each socket, with more words in between in some kernels.
func listedPort(list string) int {
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		for _, word := range f {
			if word == "tcp" {
				n, _ := strconv.Atoi(f[len(f)-1])
				return n
			}
		}
	}
	return 0
}

// startNFSD starts the kernel's server.
func (k *Kernel) startNFSD(ctx context.Context) error {
	if err := free(cmp.Or(k.Port, Port)); err != nil {
		return err
	}
	err := k.run(ctx, "rpc.nfsd", "--no-udp", "--tcp", "--nfs-version", "3", "--nfs-version", "4",
		"--port", strconv.Itoa(cmp.Or(k.Port, Port)), strconv.Itoa(nfsdThreads))
	if err != nil {
		return err
	}
	k.Metrics.start()
	k.log().Info("the kernel's NFS server started", "port", cmp.Or(k.Port, Port))
	// For 90 seconds version 4 clients could only reclaim locks: no node holds any here.
	if err := os.WriteFile(filepath.Join(nfsdDir, "v4_end_grace"), []byte("Y"), 0); err != nil {
		k.log().Warn("version 4 clients wait until the server's grace period ends (90 s)", "err", err)
	}
	return nil
}
