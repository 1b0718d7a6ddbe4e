package nfs_test

import (
	"context"
	"errors"
	"testing"

	"muster/images/nfs"
	"muster/images/nfs/nfstest"
)

// kept is External with a server that its operator keeps in step.
type kept struct {
	*nfs.External
	server nfs.Exports
}

// Set changes the other server as well.
func (k kept) Set(ctx context.Context, exports []nfs.Export) error {
	return errors.Join(k.server.Set(ctx, exports), k.External.Set(ctx, exports))
}

// Serve runs the other server as well.
func (k kept) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { // ends with ctx, or when the server cannot start
		done <- k.server.Serve(ctx)
		cancel()
	}()
	err := k.External.Serve(ctx)
	return errors.Join(err, <-done)
}

func TestExternalConforms(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind", "qemu-system-x86_64", "depmod")
	other := &nfs.Ganesha{Dir: t.TempDir(), Port: 12049, MountPort: 12050}
	nfstest.Run(t, t.TempDir(), func(t *testing.T) nfstest.Server {
		return nfstest.Server{Exports: kept{&nfs.External{Port: 12049, MountPort: 12050}, other}}
	})
}
