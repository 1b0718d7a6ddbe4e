package nfs

import (
	"fmt"
	"log/slog"
)

// Options are what Auto gives to the server that it picks.
type Options struct {
	// Dir is for the server's own files. Required for Ganesha.
	Dir string
	// Port and MountPort as in the servers.
	Port, MountPort int
	// Logger and Metrics as in the servers; nil is silent and counts nothing.
	Logger  *slog.Logger
	Metrics *Metrics
}

// Auto picks a server for this machine and says why. It looks, and starts nothing:
//
//  1. The kernel's, which is the fastest, when all of these hold: exportfs, rpc.nfsd and rpc.mountd are in
//     PATH (nfs-kernel-server is installed); /proc/filesystems names nfsd (the module is loaded: that
//     package's service and an entry in /etc/modules-load.d do it at boot, and Auto never does); and we are in
//     the machine's own network namespace, since /proc/fs/nfsd and the tools' files know one server only.
//     Whether that server runs makes no difference: Kernel joins it or starts it.
//  2. Otherwise nfs-ganesha, when it, its plugin for local file systems and rpcbind are installed. Why says
//     which condition of the kernel's server failed.
//  3. Otherwise the error wraps fs.ErrNotExist and says what to install.
//
// External is never picked: only an operator knows of it. What was picked is not changed while it serves: one
// that fails then says so, and another would give other file handles.
func Auto(o Options) (server Exports, why string, err error) {
	// Nodes that run must live through a restart of ours.
	k := &Kernel{Port: o.Port, MountPort: o.MountPort, Leave: true, Logger: o.Logger, Metrics: o.Metrics}
	kernelErr := k.find()
	if kernelErr == nil {
		return k, "kernel: this kernel has nfsd, and its tools are installed", nil
	}
	g := &Ganesha{Dir: o.Dir, Port: o.Port, MountPort: o.MountPort, Logger: o.Logger, Metrics: o.Metrics}
	if err := g.find(); err != nil {
		return nil, "", fmt.Errorf("%w (the kernel's server cannot be used either: %w)", err, kernelErr)
	}
	return g, fmt.Sprintf("ganesha: it is installed, and the kernel's server cannot be used (%v)", kernelErr), nil
}
