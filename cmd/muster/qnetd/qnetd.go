// Package qnetd keeps corosync-qnetd, the third vote of storage pairs, running as a child process, and gives each
// pair the certificate that it needs to talk to it.
//
// A pair of two cannot tell a dead half from a cut link; corosync-qdevice on the halves asks this vote which side
// may go on. Both ends prove who they are by TLS (required here, with the clients' certificates); the authority is
// made at the first start, with NSS's certutil, since qnetd reads NSS databases alone. It does what
// corosync-qnetd-certutil and corosync-qdevice-net-certutil do, in a directory of Muster's own.
//
// qnetd keeps nothing: a restart costs the pairs a vote of some seconds, while both of their halves go on.
package qnetd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/images/child"
)

// Port is qnetd's own.
const Port = 5403

// Install says what to do where the programs are missing. Debian starts a daemon of its own at once, on the same port.
const Install = "apt-get install corosync-qnetd libnss3-tools && systemctl disable --now corosync-qnetd"

// Server is one corosync-qnetd. Set the fields before the first call.
type Server struct {
	// Dir is a directory for the authority, the clusters' keys and the daemon's own files; it is made when it is
	// missing. Required.
	Dir string
	// Listen is the address that it listens on; empty means all of this machine's.
	Listen string
	// Port is the TCP port; zero means 5403.
	Port int
	// Log gets starts, failures and what the daemon says; nil is silent.
	Log *slog.Logger
	// Ended is called when the daemon ended by itself; nil: nobody asks.
	Ended func()

	making sync.Mutex // held while keys are made

	mu    sync.Mutex
	pid   int       // of the running daemon, 0 for none; guarded by mu, as is since
	since time.Time // when it was started
}

// programs are those that this package runs.
var programs = []string{"corosync-qnetd", "certutil", "pk12util"}

// Missing says in a sentence which programs are not installed, and how they are; nil when all are. The error wraps
// fs.ErrNotExist.
func Missing() error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("qnetd: the storage pairs' third vote needs %s, which this machine does not have: %s: %w",
		strings.Join(missing, " and "), Install, fs.ErrNotExist)
}

// steady is how long a daemon must run before it counts as up: one that cannot listen ends at once.
const steady = time.Second

// Up reports whether the daemon runs.
func (s *Server) Up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid != 0 && time.Since(s.since) >= steady
}

// PID is the daemon's process, 0 while there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// retry is the pause after what it needs was missing.
const retry = 10 * time.Second

// Serve keeps the daemon running until ctx ends, and returns nil then. What is missing, or wrong, it says in the
// log, once, and waits until it is there: the pairs go on without their third vote, until one of their halves fails.
func (s *Server) Serve(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		err := s.prepare(ctx)
		if err == nil {
			break
		}
		if said != err.Error() && ctx.Err() == nil {
			said = err.Error()
			s.log().Error("storage pairs have no third vote", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	c := child.Process{
		Command: s.command, Started: s.started, Grace: 2 * time.Second,
		Line: func(line string) { s.log().Info("corosync-qnetd says", "line", line) },
		Ended: func(err error, again time.Duration) {
			s.started(0)
			s.log().Error("corosync-qnetd ended; when its port is taken by another one: systemctl disable --now corosync-qnetd",
				"port", s.port(), "err", err, "again", again)
			if s.Ended != nil {
				s.Ended()
			}
		},
	}
	c.Run(ctx)
	s.started(0)
	return nil
}

// prepare makes what the daemon needs.
func (s *Server) prepare(ctx context.Context) error {
	if err := Missing(); err != nil {
		return err
	}
	if err := s.makeAuthority(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.runDir(), 0o750); err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	return s.hand()
}

func (s *Server) runDir() string { return filepath.Join(s.Dir, "run") }

func (s *Server) port() int { return cmp.Or(s.Port, Port) }

// command makes the process. Its socket and its lock have short names: a socket's may have 107 bytes.
func (s *Server) command() *exec.Cmd {
	args := []string{"-f", "-s", "req", "-c", "on", "-p", strconv.Itoa(s.port())}
	if s.Listen != "" {
		args = append(args, "-l", s.Listen)
	}
	args = append(args, "-S", "nss_db_dir="+s.database()+",lock_file=lock,local_socket_file=socket")
	cmd := exec.Command("corosync-qnetd", args...)
	cmd.Dir = s.runDir()
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	if uid, gid, err := s.owner(); err == nil && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

// started notes the daemon's process; 0 for none.
func (s *Server) started(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid, s.since = pid, time.Now()
	if pid != 0 {
		s.log().Info("corosync-qnetd started", "pid", pid, "port", s.port())
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// account is the user that Debian's package makes for the daemon: what listens on the network need not be root.
const account = "coroqnetd"

// owner gives the daemon's user. The error says why it must be ours: there is no such user, or it would not reach Dir.
func (s *Server) owner() (uid, gid int, err error) {
	u, err := user.Lookup(account)
	if err != nil {
		return 0, 0, err
	}
	for dir := filepath.Dir(s.Dir); ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err != nil {
			return 0, 0, err
		}
		if fi.Mode()&1 == 0 {
			return 0, 0, fmt.Errorf("the user %s cannot enter %s; let it: chmod o+x %[2]s", account, dir)
		}
		if dir == "/" {
			break
		}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// hand gives the daemon's user what it reads and writes, and nothing of the rest.
func (s *Server) hand() error {
	uid, gid, err := s.owner()
	if err != nil || os.Getuid() != 0 {
		uid, gid = os.Getuid(), os.Getgid()
	}
	if err != nil && uid == 0 {
		s.log().Warn("corosync-qnetd listens on the network and runs as root", "err", err)
	}
	errs := []error{os.Chown(s.Dir, os.Getuid(), gid), os.Chmod(s.Dir, 0o750)}
	// Both are flat. What its user put into them is not followed: it must not get what lies elsewhere.
	for _, dir := range []string{s.database(), s.runDir()} {
		files, err := os.ReadDir(dir)
		errs = append(errs, err, os.Lchown(dir, uid, gid))
		for _, f := range files {
			if err := os.Lchown(filepath.Join(dir, f.Name()), uid, gid); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	return nil
}
