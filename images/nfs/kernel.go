package nfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/images/child"
)

// Kernel serves exports with the kernel's nfsd, driven by the tools of Debian's nfs-kernel-server. That server
// is one for the machine. Where it runs already, its ports, threads and exports are left as they are: ours are
// added to them and taken away at the end. Otherwise it is started, with rpc.mountd as a child and rpcbind
// where there is none, and stopped at the end. What a crash leaves behind goes on serving, and the next
// Serve takes it over.
//
// Our exports are also in /etc/exports.d/muster.exports while they last, so that they outlive an exportfs -r and a
// restart of nfs-server.service. Its fields are set before the first call.
type Kernel struct {
	// Port is NFS's; zero means 2049. MountPort is mountd's; zero means 20048. Of a server that runs already
	// its own count, whatever these say.
	Port, MountPort int
	// Leave leaves the exports in place at the end, for nodes that run on them, when the server is not ours:
	// on an export that is away even for a moment their open files fail (ESTALE). The next Serve takes them
	// over. A server of ours is stopped anyway, and nodes wait for it. False takes them away.
	Leave bool
	// Logger gets starts, failures, and at level debug the commands that are run; nil is silent.
	Logger *slog.Logger
	// Metrics counts; nil counts nothing.
	Metrics *Metrics

	mu                sync.Mutex // guards what follows
	exports           []Export   // wanted
	table             exportTable
	serving           bool
	gone              bool // the server was found stopped
	nfsPort, mntdPort int  // of servers that ran before us; 0: none did
}

// kernelTools are what nfs-kernel-server brings.
var kernelTools = []string{"exportfs", "rpc.nfsd", "rpc.mountd"}

// find looks for the tools and the kernel's server. The error wraps fs.ErrNotExist and says what to do.
func (k *Kernel) find() error {
	for _, tool := range kernelTools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("nfs: %s is not installed: apt-get install nfs-kernel-server: %w", tool, fs.ErrNotExist)
		}
	}
	if !kernelHasNFS(procFilesystems()) {
		return fmt.Errorf("nfs: this kernel has no NFS server (no nfsd in /proc/filesystems): modprobe nfsd, or set images.nfs.server to ganesha: %w", fs.ErrNotExist)
	}
	// /proc/fs/nfsd and nfs-utils' files would be those of the machine's server, in which our clients are not.
	own, err := os.Readlink("/proc/self/ns/net")
	if machine, e := os.Readlink("/proc/1/ns/net"); err == nil && e == nil && own != machine {
		return fmt.Errorf("nfs: the kernel's NFS server is in another network namespace: set images.nfs.server to ganesha: %w", fs.ErrNotExist)
	}
	return nil
}

func procFilesystems() string {
	b, _ := os.ReadFile("/proc/filesystems") // unreadable is as good as empty
	return string(b)
}

// kernelHasNFS reads /proc/filesystems.
func kernelHasNFS(filesystems string) bool {
	return slices.Contains(strings.Fields(filesystems), "nfsd")
}

// Set implements Exports. While it serves the error wraps fs.ErrExist when the machine itself exports one of
// the directories to one of the clients.
func (k *Kernel) Set(ctx context.Context, exports []Export) error {
	if err := checkHere(exports); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.serving {
		if err := k.table.apply(ctx, entries(exports)); err != nil {
			return err
		}
	} else {
		k.look(ctx) // for Mount
	}
	k.exports = slices.Clone(exports)
	return nil
}

// run executes one command.
func (k *Kernel) run(ctx context.Context, argv ...string) error {
	k.log().Debug("run", "command", argv)
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nfs: %s: %s: %w", strings.Join(argv, " "), strings.TrimSpace(string(out)), err)
	}
	return nil
}

func (k *Kernel) log() *slog.Logger {
	if k.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Logger
}

// Serve implements Exports. Its error wraps fs.ErrExist when the machine itself exports one of the directories
// to one of the clients, or another Muster serves here.
func (k *Kernel) Serve(ctx context.Context) error {
	if err := k.find(); err != nil {
		return err
	}
	claim, err := claimNFSD()
	if err != nil {
		return err
	}
	defer claim.release()
	if err := mountNFSD(); err != nil {
		return err
	}
	ours := claim.started() || !nfsdRuns()
	if err := claim.note(ours); err != nil {
		return err
	}
	mapper, err := listenRpcbind()
	if err != nil {
		return err
	}
	// The helpers end after nfsd, which unregisters at rpcbind when it stops.
	helpers, stopHelpers := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopHelpers()
	wg.Go(func() { mapper.serve(helpers, k.log().Warn) })
	mountd, err := k.meet(ctx, ours)
	if err != nil {
		return err
	}
	if mountd != nil {
		wg.Go(func() { mountd.Run(helpers) })
	}
	if err = k.begin(ctx, ours); err == nil {
		k.keep(ctx, ours)
	} else if ctx.Err() != nil {
		err = nil // it was we who stopped it
	}
	return k.end(context.WithoutCancel(ctx), claim, ours, err)
}

// look finds the ports of what runs already. The caller holds mu.
func (k *Kernel) look(ctx context.Context) {
	k.nfsPort, k.mntdPort = 0, 0
	if nfsdRuns() {
		k.nfsPort = nfsdPort()
	}
	if port := mapped(ctx, programMount); port != 0 && ping(ctx, port, programMount) == nil {
		k.mntdPort = port
	}
}

// meet looks for what runs already, and gives the mountd that we have to run, nil for none.
func (k *Kernel) meet(ctx context.Context, ours bool) (mountd *child.Process, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look(ctx)
	if !ours {
		if err := ping(ctx, k.nfsPort, programNFS); err != nil {
			return nil, fmt.Errorf("nfs: this machine's NFS server does not answer version 3 on 127.0.0.1 port %d (TCP); stop it, or see [nfsd] in /etc/nfs.conf: %w", k.nfsPort, err)
		}
	}
	if k.mntdPort != 0 {
		return nil, nil
	}
	port := cmp.Or(k.MountPort, MountPort)
	if err := free(port); err != nil {
		return nil, err
	}
	return &child.Process{
		Command: func() *exec.Cmd {
			return exec.Command("rpc.mountd", "--foreground", "--no-udp", "--port", strconv.Itoa(port))
		},
		Grace: 2 * time.Second,
		Line:  func(s string) { k.log().Info("rpc.mountd says", "line", s) },
		Ended: func(err error, again time.Duration) {
			k.log().Error("rpc.mountd ended", "err", err, "again", again)
			k.Metrics.failure()
		},
	}, nil
}

// begin makes the exports, and then starts the server: nodes that wait for it must not find it without.
func (k *Kernel) begin(ctx context.Context, ours bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = exportTable{run: k.run, file: exportsFile, etab: etabFile}
	k.table.load()
	if err := k.table.apply(ctx, entries(k.exports)); err != nil {
		return err
	}
	if ours && !nfsdRuns() {
		if err := k.startNFSD(ctx); err != nil {
			return err
		}
	}
	k.serving = true
	return nil
}

// keepEvery is how often we look whether all is as we left it. Another NFS server's service that is stopped
// or installed on this machine stops nfsd, and takes all exports away.
const keepEvery = 2 * time.Second

// keep brings back what was taken from us, until ctx ends.
func (k *Kernel) keep(ctx context.Context, ours bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepEvery):
		}
		if err := k.mend(ctx, ours); err != nil && ctx.Err() == nil {
			k.log().Error("the kernel's NFS server cannot be kept up", "again", keepEvery, "err", err)
		}
	}
}

// mend is one look.
func (k *Kernel) mend(ctx context.Context, ours bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table.lost() {
		k.log().Warn("exports were taken away: making them again")
		if err := k.table.apply(ctx, entries(k.exports)); err != nil {
			return err
		}
	}
	if ours {
		return k.revive(ctx)
	}
	k.watch(ctx)
	return nil
}

// revive starts a server of ours that somebody stopped, but not at once: nfs-server.service takes all exports
// away right after it stops the server, and nodes must not meet it in between. The caller holds mu.
func (k *Kernel) revive(ctx context.Context) error {
	switch {
	case nfsdRuns():
		k.gone = false
		return nil
	case !k.gone:
		k.gone = true
		k.log().Warn("the kernel's NFS server was stopped: starting it again", "in", keepEvery)
		k.Metrics.failure()
		return nil
	}
	k.nfsPort = 0
	return k.startNFSD(ctx)
}

// watch follows a server and a mountd that are not ours. The caller holds mu.
func (k *Kernel) watch(ctx context.Context) {
	if gone := !nfsdRuns(); gone != k.gone {
		k.gone = gone
		if gone {
			k.log().Error("this machine's NFS server was stopped, and not by Muster: nodes wait until it is started again")
			k.Metrics.failure()
		} else {
			k.nfsPort = cmp.Or(nfsdPort(), k.nfsPort)
			k.log().Info("this machine's NFS server is back", "port", k.nfsPort)
		}
	}
	if k.mntdPort != 0 && ping(ctx, k.mntdPort, programMount) != nil {
		if port := mapped(ctx, programMount); port != 0 && port != k.mntdPort { // by default it has another at each start
			k.log().Info("mountd has another port now", "port", port)
			k.mntdPort = port
		}
	}
}

// end stops the server if it is ours, and then takes our exports away: nodes wait for a server that is gone,
// but fail on an export that is. It returns err, or what failed here.
func (k *Kernel) end(ctx context.Context, claim *claim, ours bool, err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.serving = false
	if ours {
		if e := k.run(ctx, "rpc.nfsd", "0"); err == nil {
			err = e
		}
		if e := claim.note(false); err == nil {
			err = e
		}
	}
	if ours || !k.Leave {
		if e := k.table.apply(ctx, nil); err == nil {
			err = e
		}
	}
	return err
}

// ports are those that clients mount by. The caller holds mu.
func (k *Kernel) ports() (nfs, mountd int) {
	return cmp.Or(k.nfsPort, cmp.Or(k.Port, Port)), cmp.Or(k.mntdPort, cmp.Or(k.MountPort, MountPort))
}

// Ready implements Exports.
func (k *Kernel) Ready(ctx context.Context) error {
	for {
		k.mu.Lock()
		port, mountPort := k.ports()
		serving := k.serving
		k.mu.Unlock()
		var err error
		if serving {
			short, cancel := context.WithTimeout(ctx, keepEvery) // the ports may change
			err = untilAnswers(short, port, mountPort)
			cancel()
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nfs: the kernel's NFS server is not ready: %w", errors.Join(context.Cause(ctx), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Mount implements Exports.
func (k *Kernel) Mount(path string) (Mount, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := covering(k.exports, path); err != nil {
		return Mount{}, err
	}
	port, mountPort := k.ports()
	return Mount{Path: filepath.Clean(path), Port: port, MountPort: mountPort}, nil
}
