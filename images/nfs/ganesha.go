package nfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/images/child"
)

// Ganesha serves exports with nfs-ganesha as a child process, restarted when it fails. File handles stay
// valid over a restart, so clients only wait. Its fields are set before the first call.
type Ganesha struct {
	// Dir is a directory for its configuration, log and recovery data, for this server alone; it is made
	// when it is missing. Required.
	Dir string
	// Port is NFS's; zero means 2049. MountPort is mountd's; zero means 20048.
	Port, MountPort int
	// Program is ganesha.nfsd; empty means that of PATH.
	Program string
	// Logger gets starts, failures and the child's serious messages; nil is silent. Everything that it
	// says is in Dir/ganesha.log.
	Logger *slog.Logger
	// Metrics counts; nil counts nothing.
	Metrics *Metrics

	plugin string // path of the VFS plugin, found by find

	setting sync.Mutex // held during a Set

	mu      sync.Mutex // guards what follows
	exports []Export
	serving bool          // the child runs, or will run again in a moment
	pid     int           // of the running child; 0: none
	reread  chan struct{} // closed when the child has read its exports again; nil: nobody waits
	lastErr string        // the child's last serious message
}

// mtab is there on every machine that systemd has started, but not in a bare container or chroot; without it
// nfs-ganesha starts, and refuses every mount.
const mtab = "/etc/mtab"

// reloadTimeout bounds a re-read of the exports, which takes milliseconds.
const reloadTimeout = 20 * time.Second

func (g *Ganesha) port() int      { return cmp.Or(g.Port, Port) }
func (g *Ganesha) mountPort() int { return cmp.Or(g.MountPort, MountPort) }

func (g *Ganesha) configPath() string { return filepath.Join(g.Dir, "ganesha.conf") }

// pluginPaths are where Debian and others put the plugin for local file systems.
var pluginPaths = []string{
	"/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so", "/usr/lib/*/ganesha/libfsalvfs.so",
	"/usr/lib/ganesha/libfsalvfs.so", "/usr/lib64/ganesha/libfsalvfs.so",
}

// find looks for the programs. The error wraps fs.ErrNotExist and says what to install.
func (g *Ganesha) find() error {
	if g.Program == "" {
		g.Program = "ganesha.nfsd"
	}
	for _, pattern := range pluginPaths {
		if found, _ := filepath.Glob(pattern); len(found) > 0 && g.plugin == "" {
			g.plugin = found[0]
		}
	}
	if _, err := exec.LookPath(g.Program); err != nil || g.plugin == "" {
		return fmt.Errorf("nfs: nfs-ganesha is not installed: apt-get install nfs-ganesha nfs-ganesha-vfs (make setup does): %w", fs.ErrNotExist)
	}
	if _, err := os.Stat(mtab); err != nil {
		return fmt.Errorf("nfs: nfs-ganesha finds file systems in %s, which is missing: ln -s /proc/self/mounts %[1]s (make setup does): %w", mtab, fs.ErrNotExist)
	}
	if _, err := exec.LookPath("rpcbind"); err != nil {
		return fmt.Errorf("nfs: rpcbind, which nfs-ganesha needs, is not installed: apt-get install rpcbind (make setup does): %w", fs.ErrNotExist)
	}
	return nil
}

// Set implements Exports. A child that runs re-reads its configuration; mounts of exports that stay go on.
func (g *Ganesha) Set(ctx context.Context, exports []Export) error {
	if err := checkHere(exports); err != nil {
		return err
	}
	// One at a time: each waits for the child to have read what it wrote.
	g.setting.Lock()
	defer g.setting.Unlock()
	g.mu.Lock()
	g.exports = slices.Clone(exports)
	var err error
	serving := g.serving
	if serving {
		err = g.write()
	}
	g.mu.Unlock()
	if err != nil || !serving {
		return err
	}
	// A child that is just being restarted may have read the old file: it is told as well.
	return g.reload(ctx)
}

// reload makes the child read its exports again, and waits for that. It ignores the signal until it is up.
func (g *Ganesha) reload(ctx context.Context) error {
	if err := g.Ready(ctx); err != nil {
		return err
	}
	reread := make(chan struct{})
	g.mu.Lock()
	g.reread = reread
	pid := g.pid
	g.mu.Unlock()
	if pid != 0 { // else it is being restarted, and reads the new file by itself
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("nfs: reload nfs-ganesha: %w", err)
		}
	}
	select {
	case <-reread:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(reloadTimeout):
		return fmt.Errorf("nfs: nfs-ganesha did not read its exports again within %s (%s)", reloadTimeout, g.log())
	}
}

// write writes the configuration. The caller holds mu.
func (g *Ganesha) write() error {
	tmp := g.configPath() + ".new"
	if err := os.WriteFile(tmp, []byte(g.config(g.exports)), 0o600); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	if err := os.Rename(tmp, g.configPath()); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	return nil
}

func (g *Ganesha) log() string { return filepath.Join(g.Dir, "ganesha.log") }

// Serve implements Exports.
func (g *Ganesha) Serve(ctx context.Context) error {
	if err := g.find(); err != nil {
		return err
	}
	if err := errors.Join(free(g.port()), free(g.mountPort())); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(g.Dir, "recovery"), 0o755); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	log, err := openLog(g.log())
	if err != nil {
		return err
	}
	defer log.Close()
	mapper, err := listenRpcbind()
	if err != nil {
		return err
	}
	g.mu.Lock()
	err = g.write()
	g.serving = err == nil
	g.mu.Unlock()
	if err != nil {
		mapper.close()
		return err
	}
	defer func() {
		g.mu.Lock()
		g.serving = false
		g.mu.Unlock()
	}()
	// rpcbind ends after Ganesha, which unregisters there when it stops.
	mapperCtx, stopMapper := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { mapper.serve(mapperCtx, g.logger().Warn) })
	defer wg.Wait()
	defer stopMapper()

	c := &child.Process{
		Command: g.command, Grace: 5 * time.Second, Started: g.started, Ended: g.ended,
		Line: func(s string) {
			log.line(s)
			g.line(s)
		},
	}
	c.Run(ctx)
	g.started(0)
	return nil
}

func (g *Ganesha) logger() *slog.Logger {
	if g.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Logger
}

// free checks that nobody listens on a port: Ganesha itself would only say so in its log, again and again.
// It waits a moment: the Ganesha of a server that was just killed takes its time to die.
func free(port int) error {
	for deadline := time.Now().Add(portWait); ; time.Sleep(50 * time.Millisecond) {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err == nil {
			return l.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nfs: port %d is taken: another NFS server runs here: stop it, or set images.nfs.server to kernel or external: %w", port, err)
		}
	}
}

func (g *Ganesha) command() *exec.Cmd {
	return exec.Command(g.Program, "-F", "-L", "STDERR", "-f", g.configPath(), "-p", filepath.Join(g.Dir, "ganesha.pid"))
}

// started notes the running child.
func (g *Ganesha) started(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pid, g.lastErr = pid, ""
	if pid != 0 {
		g.logger().Info("nfs-ganesha started", "pid", pid)
		g.Metrics.start()
	}
}

// ended notes that the child failed.
func (g *Ganesha) ended(err error, again time.Duration) {
	g.mu.Lock()
	said := g.lastErr
	g.pid = 0
	g.mu.Unlock()
	g.logger().Error("nfs-ganesha ended", "err", err, "said", said, "again", again, "log", g.log())
	g.Metrics.failure()
}

// line looks for what matters in the child's log.
func (g *Ganesha) line(s string) {
	switch {
	case strings.Contains(s, ":FATAL :"), strings.Contains(s, ":MAJ :"):
		g.mu.Lock()
		g.lastErr = s
		g.mu.Unlock()
	case strings.Contains(s, rereadLine), strings.Contains(s, initializedLine):
		g.mu.Lock()
		if g.reread != nil {
			close(g.reread)
			g.reread = nil
		}
		g.mu.Unlock()
	}
}

// What Ganesha says when it has read its exports, after SIGHUP and at the start.
const (
	rereadLine      = "Reread exports complete"
	initializedLine = "NFS SERVER INITIALIZED"
)

// Ready implements Exports: it asks the server until it answers.
func (g *Ganesha) Ready(ctx context.Context) error {
	err := untilAnswers(ctx, g.port(), g.mountPort())
	if err == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Errorf("nfs: nfs-ganesha does not answer (it said: %q; log: %s): %w", g.lastErr, g.log(), err)
}

// Mount implements Exports.
func (g *Ganesha) Mount(path string) (Mount, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	export, err := covering(g.exports, path)
	if err != nil {
		return Mount{}, err
	}
	return Mount{Path: filepath.Clean(path), Port: g.port(), MountPort: g.mountPort(), Options: mountOptions(export)}, nil
}
