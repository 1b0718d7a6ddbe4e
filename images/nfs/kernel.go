package nfs

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Kernel serves exports with the kernel's nfsd, driven by Debian's nfs-kernel-server tools. It adds to what
// the machine exports already and takes only its own away. The kernel's server is one for the machine (or
// network namespace): it is started when it does not run, and then stopped at the end.
type Kernel struct {
	// Port is NFS's; zero means 2049. MountPort is mountd's; zero means 20048. They count only when nfsd
	// is not running yet.
	Port, MountPort int
	// Logger gets the commands that are run; nil is silent.
	Logger *slog.Logger
	// Run executes one command; nil means os/exec. Tests watch it.
	Run func(ctx context.Context, argv ...string) error

	mu      sync.Mutex // guards what follows
	exports []Export   // wanted
	made    [][]string // exportfs arguments (options, client:path) that are in effect
	serving bool
}

// kernelTools are what nfs-kernel-server brings.
var kernelTools = []string{"exportfs", "rpc.nfsd", "rpc.mountd"}

// nfsdThreads are the server's threads: a boot storm of 100 machines reads through them.
const nfsdThreads = 32

// find looks for the tools and the kernel's server.
func (k *Kernel) find() error {
	for _, tool := range kernelTools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("nfs: %s is not installed: apt-get install nfs-kernel-server: %w", tool, fs.ErrNotExist)
		}
	}
	if !kernelHasNFS(procFilesystems()) {
		return fmt.Errorf("nfs: this kernel has no NFS server (no nfsd in /proc/filesystems): modprobe nfsd, or set images.nfs.server to ganesha: %w", fs.ErrNotExist)
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

// exportArgs renders exports as exportfs(8) wants them: "-o", options, "client:path" of each pair. The
// fsid makes handles independent of device numbers, and needs no UUID.
func exportArgs(exports []Export) [][]string {
	id := ids(exports)
	var all [][]string
	for _, e := range exports {
		opts := []string{strings.ToLower(access(e)), squash(e), "no_subtree_check", "fsid=" + strconv.Itoa(int(id[e.Path]))}
		if !e.ReadOnly {
			opts = append(opts, "sync")
		}
		for _, c := range e.Clients {
			all = append(all, []string{"-o", strings.Join(opts, ","), clientSpec(c) + ":" + e.Path})
		}
	}
	return all
}

// clientSpec is a network as exports(5) writes it: IPv6 in brackets.
func clientSpec(p netip.Prefix) string {
	if p.Addr().Is4() {
		return p.String()
	}
	return "[" + p.Addr().String() + "]/" + strconv.Itoa(p.Bits())
}

// Set implements Exports.
func (k *Kernel) Set(ctx context.Context, exports []Export) error {
	if err := check(exports); err != nil {
		return err
	}
	for _, e := range exports {
		if info, err := os.Stat(e.Path); err != nil || !info.IsDir() {
			return fmt.Errorf("nfs: export %q: is not a directory: %w", e.Path, fs.ErrNotExist)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.exports = slices.Clone(exports)
	if !k.serving {
		return nil
	}
	return k.apply(ctx, exportArgs(exports))
}

// apply makes wanted the exports in effect: new ones first, so that a changed one is never away. The caller
// holds mu.
func (k *Kernel) apply(ctx context.Context, wanted [][]string) error {
	has := func(list [][]string, args []string) bool {
		return slices.ContainsFunc(list, func(o []string) bool { return slices.Equal(o, args) })
	}
	same := func(args []string) func([]string) bool {
		return func(o []string) bool { return o[2] == args[2] }
	}
	for _, args := range wanted {
		if !has(k.made, args) {
			if err := k.run(ctx, append([]string{"exportfs"}, args...)...); err != nil {
				return err
			}
			k.made = append(slices.DeleteFunc(k.made, same(args)), args)
		}
	}
	for _, args := range slices.Clone(k.made) {
		if !slices.ContainsFunc(wanted, same(args)) {
			if err := k.run(ctx, "exportfs", "-u", args[2]); err != nil {
				return err
			}
			k.made = slices.DeleteFunc(k.made, same(args))
		}
	}
	return nil
}

// run executes one command.
func (k *Kernel) run(ctx context.Context, argv ...string) error {
	if k.Logger != nil {
		k.Logger.Debug("run", "command", argv)
	}
	if k.Run != nil {
		return k.Run(ctx, argv...)
	}
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nfs: %s: %s: %w", strings.Join(argv, " "), strings.TrimSpace(string(out)), err)
	}
	return nil
}

// Serve implements Exports.
func (k *Kernel) Serve(ctx context.Context) error {
	if k.Run == nil {
		if err := k.find(); err != nil {
			return err
		}
	}
	ours := ping(ctx, k.port(), programNFS) != nil
	if ours {
		if err := k.start(ctx); err != nil {
			return err
		}
	}
	k.mu.Lock()
	k.serving = true
	err := k.apply(ctx, exportArgs(k.exports))
	k.mu.Unlock()
	if err == nil {
		<-ctx.Done()
	}
	return k.stop(context.WithoutCancel(ctx), ours, err)
}

// start brings the kernel's server up.
func (k *Kernel) start(ctx context.Context) error {
	for _, argv := range [][]string{
		{"rpc.mountd", "--port", strconv.Itoa(k.mountPort())},
		{"rpc.nfsd", "--no-udp", "--port", strconv.Itoa(k.port()), strconv.Itoa(nfsdThreads)},
	} {
		if err := k.run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// stop takes our exports away, and the server if we started it. It returns err, or what failed here.
func (k *Kernel) stop(ctx context.Context, ours bool, err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.serving = false
	if e := k.apply(ctx, nil); err == nil {
		err = e
	}
	if ours {
		// mountd stays: without exports it has nothing to give, and it is not known to be ours alone.
		if e := k.run(ctx, "rpc.nfsd", "0"); err == nil {
			err = e
		}
	}
	return err
}

func (k *Kernel) port() int      { return or(k.Port, Port) }
func (k *Kernel) mountPort() int { return or(k.MountPort, MountPort) }

// Ready implements Exports.
func (k *Kernel) Ready(ctx context.Context) error {
	return untilAnswers(ctx, k.port(), k.mountPort())
}

// Mount implements Exports.
func (k *Kernel) Mount(path string) (Mount, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := covering(k.exports, path); err != nil {
		return Mount{}, err
	}
	return Mount{Path: filepath.Clean(path), Port: k.port(), MountPort: k.mountPort()}, nil
}
