package serve

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"muster/images/nfs"
)

// pickExports makes the NFS server that the configuration names, and says why it is that one.
func (s *server) pickExports() (nfs.Exports, string, error) {
	c := s.Config.Images.NFS
	o := nfs.Options{Dir: s.path("run", "nfs"), Port: int(c.Port), MountPort: int(c.MountPort),
		Logger: s.log.With("service", "nfs"), Metrics: nfs.NewMetrics(s.metrics)}
	switch c.Server {
	case "ganesha":
		return &nfs.Ganesha{Dir: o.Dir, Port: o.Port, MountPort: o.MountPort, Logger: o.Logger, Metrics: o.Metrics}, "ganesha: configured", nil
	case "kernel":
		return &nfs.Kernel{Port: o.Port, MountPort: o.MountPort, Leave: true, Logger: o.Logger, Metrics: o.Metrics}, "kernel: configured", nil
	case "external":
		x := &nfs.External{Server: c.Address, Port: o.Port, MountPort: o.MountPort}
		if c.Path != "" {
			x.Prefixes = map[string]string{s.Config.Data: c.Path}
		}
		return x, "external: " + c.Address.String(), nil
	}
	return nfs.Auto(o)
}

// exportsRetry is the pause after exports could not be changed: a full disk, or an NFS server that is just
// coming back.
const exportsRetry = 5 * time.Second

// keepExports follows the pools: their addresses are who may write. done is what is exported at the start.
// It ends with ctx.
func (s *server) keepExports(ctx context.Context, done []nfs.Export) error {
	for {
		rev := s.registry.Revision()
		var again <-chan time.Time // nil: the next change of the rack is soon enough
		if want := s.wantedExports(); !slices.EqualFunc(want, done, sameExport) {
			switch err := s.exports.Set(ctx, want); {
			case err == nil:
				done = want
			case ctx.Err() == nil:
				s.log.Error("exports not changed, trying again", "again", exportsRetry, "err", err)
				again = time.After(exportsRetry)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-s.registry.Watch(rev):
		}
	}
}

func sameExport(a, b nfs.Export) bool {
	return a.Path == b.Path && a.ReadOnly == b.ReadOnly && a.NoRootSquash == b.NoRootSquash && slices.Equal(a.Clients, b.Clients)
}

// wantedExports: images for every machine that boots here, volumes and state for the pools' addresses.
func (s *server) wantedExports() []nfs.Export {
	var all, members []netip.Prefix
	for _, n := range s.networks {
		all = append(all, n.Prefix)
	}
	if pools, err := s.registry.Pools(); err == nil {
		for _, p := range pools {
			members = append(members, p.Addresses.Prefixes()...)
		}
	}
	return []nfs.Export{
		// A root file system has files that only root may read.
		{Path: s.path("images"), ReadOnly: true, Clients: all, NoRootSquash: true},
		{Path: s.path("volumes"), Clients: members, NoRootSquash: true},
		{Path: s.path("state"), Clients: members, NoRootSquash: true},
	}
}
