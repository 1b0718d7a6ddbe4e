package rack

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// DefaultServer is the address of the bridge, and its network, unless Options say otherwise.
const DefaultServer = "10.77.0.1/24"

// BridgeName is the interface of the rack's network on which a server listens, inside the rack.
const BridgeName = "br0"

// Options say how a rack is made. The zero value is a usable rack.
type Options struct {
	// Server is the bridge's own address with the length of its network: where the rack's server
	// listens. Zero means DefaultServer.
	Server netip.Prefix
	// Dir is the directory in which the rack's own directory is made (consoles, NVRAM). It must not be
	// below /run, which is private inside a rack. Empty means os.TempDir.
	Dir string
	// Accel says how machines execute: AccelTCG, AccelKVM, or AccelAuto, which tries whether KVM can
	// really boot a guest. Empty means AccelAuto.
	Accel Accel
	// Log gets what the rack does; nil is silent.
	Log *slog.Logger
}

// defaults fills what is zero and checks the rest; its errors wrap fs.ErrInvalid.
func (o *Options) defaults() error {
	if !o.Server.IsValid() {
		o.Server = netip.MustParsePrefix(DefaultServer)
	}
	if !o.Server.Addr().Is4() {
		return fmt.Errorf("rack: server address %s is not IPv4: %w", o.Server, fs.ErrInvalid)
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("rack: directory %q: %w", o.Dir, err)
	}
	if o.Dir = dir; strings.HasPrefix(dir+"/", "/run/") {
		return fmt.Errorf("rack: directory %s is below /run, which is private inside a rack: %w", dir, fs.ErrInvalid)
	}
	switch o.Accel {
	case "":
		o.Accel = AccelAuto
	case AccelAuto, AccelTCG, AccelKVM:
	default:
		return fmt.Errorf("rack: unknown accelerator %q (want auto, tcg or kvm): %w", o.Accel, fs.ErrInvalid)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
