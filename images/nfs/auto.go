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

// Auto picks a server for this machine and says why: the kernel's where kernel and tools are there, since
// it is the fastest; nfs-ganesha otherwise. External is never picked: only an operator knows of it. The
// error wraps fs.ErrNotExist when neither is there, and says what to install.
func Auto(o Options) (server Exports, why string, err error) {
	k := &Kernel{Port: o.Port, MountPort: o.MountPort, Logger: o.Logger}
	kernelErr := k.find()
	if kernelErr == nil {
		return k, "kernel: this kernel has nfsd, and its tools are installed", nil
	}
	g := &Ganesha{Dir: o.Dir, Port: o.Port, MountPort: o.MountPort, Logger: o.Logger, Metrics: o.Metrics}
	if err := g.find(); err != nil {
		return nil, "", err
	}
	return g, fmt.Sprintf("ganesha: it is installed, and the kernel's server cannot be used (%v)", kernelErr), nil
}
