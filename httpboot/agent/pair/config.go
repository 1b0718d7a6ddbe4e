package pair

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
)

// Config is what a half knows of its pair, from ConfigFile.
type Config struct {
	Pool string `json:"pool"`
	// Slot is this half's name, which is its hostname, and Number that of the slot.
	Slot   string `json:"slot"`
	Number int    `json:"number"`
	// Address is this half's own; the floating one goes to the same NIC.
	Address netip.Addr `json:"address"`
	// Peer and PeerAddress are the other half's.
	Peer        string     `json:"peer"`
	PeerAddress netip.Addr `json:"peerAddress"`
	// Floating is the active half's, with the network's prefix length.
	Floating netip.Prefix `json:"floating"`
}

// Where things are on a storage machine.
const (
	ConfigFile = "/etc/muster/pair.json"
	// RunDir is the daemon's. DiskLink in it is what DRBD's configuration names.
	RunDir   = "/run/muster/pair"
	DiskLink = RunDir + "/disk"
	// StartFile lets corosync and Pacemaker start.
	StartFile = RunDir + "/start"
	// Volume is where the replicated file system is mounted on the active half.
	Volume = "/srv/pair"
	// ExportDir is a tmpfs and the root of all exports (fsid=0). What clients may mount is mounted in it: each export
	// is a mount point, since NFS version 4 takes a directory for another export only where one is, and nothing else
	// of the volume can be reached through the root.
	ExportDir = RunDir + "/export"
	// Target is the unit that starts the cluster.
	Target = "muster-cluster.target"
	// Resource is DRBD's, Device its block device.
	Resource = "pair"
	Device   = "/dev/drbd0"
	// HealthPort is where the daemon answers health checks.
	HealthPort = 9780
)

// ReadConfig reads ConfigFile below root. The error wraps fs.ErrInvalid when something is missing in it.
func ReadConfig(root string) (Config, error) {
	var c Config
	b, err := os.ReadFile(root + ConfigFile)
	if err != nil {
		return c, fmt.Errorf("pair: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("pair: %s: %w: %w", ConfigFile, fs.ErrInvalid, err)
	}
	if c.Slot == "" || c.Peer == "" || !c.Address.Is4() || !c.Floating.IsValid() || !c.Floating.Addr().Is4() {
		return c, fmt.Errorf("pair: %s: it needs slot, peer, address and floating: %w", ConfigFile, fs.ErrInvalid)
	}
	return c, nil
}
