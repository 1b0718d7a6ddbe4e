package pair

import (
	"net/netip"
	"time"
)

// Operations of agent.PairCall. Errors come as HTTP status: 403 for a key that is not that of the node's latest
// boot, 400 for a node whose pool is no storage pair, 409 as said here.
const (
	OpReport  = "report"  // Report → Orders
	OpMade    = "made"    // nothing → nothing: the file system of a new pair is there
	OpFence   = "fence"   // nothing → nothing: the peer is off for sure; takes up to FenceTime
	OpTry     = "try"     // nothing → nothing: the peer could be switched off
	OpOutdate = "outdate" // nothing → nothing: the peer's data are not the newest; 409 when the caller's are not
	OpVote    = "vote"    // nothing → Vote: what corosync-qdevice needs to talk to the third vote
)

// FenceTime bounds OpFence: a BMC may take that long to cut the power and to say so.
const FenceTime = time.Minute

// Phases of a Report.
const (
	PhaseDisk    = "disk"    // looks for its disk
	PhaseRefused = "refused" // found none that it may use; Why says why, and what to do
	PhaseReady   = "ready"   // its disk has metadata and is attached; it may be started
	PhaseCluster = "cluster" // Pacemaker runs
)

// Report is what a storage machine says of itself every few seconds. It has the fields of roles.Half, which say
// what they mean.
type Report struct {
	Phase      string   `json:"phase"`
	Why        string   `json:"why,omitempty"`
	Disk       string   `json:"disk,omitempty"`
	Serial     string   `json:"serial,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Meta       string   `json:"meta,omitempty"`
	Carries    string   `json:"carries,omitempty"`
	Role       string   `json:"role,omitempty"`
	DiskState  string   `json:"diskState,omitempty"`
	PeerDisk   string   `json:"peerDisk,omitempty"`
	Connection string   `json:"connection,omitempty"`
	Synced     float64  `json:"synced,omitempty"`
	Left       int64    `json:"left,omitempty"`
	Joined     bool     `json:"joined,omitempty"`
	Quorate    bool     `json:"quorate,omitempty"`
	QDevice    bool     `json:"qdevice,omitempty"`
	Standby    bool     `json:"standby,omitempty"`
	Active     bool     `json:"active,omitempty"`
	Frozen     bool     `json:"frozen,omitempty"`
	Capacity   int64    `json:"capacity,omitempty"`
	Used       int64    `json:"used,omitempty"`
	Images     []string `json:"images,omitempty"`
	Revision   string   `json:"revision,omitempty"`
	Split      bool     `json:"split,omitempty"`
	Verify     string   `json:"verify,omitempty"`
	Errors     []string `json:"errors,omitempty"`
}

// Rule finds the one disk that may be used: see roles.DiskRule.
type Rule struct {
	Path   string `json:"path,omitempty"`
	Serial string `json:"serial,omitempty"`
	// SizeMin in GiB.
	SizeMin float64 `json:"sizeMin,omitempty"`
}

// Orders is what should be: see roles.PairOrders for all fields but the last two.
type Orders struct {
	Rule     Rule   `json:"rule"`
	Known    string `json:"known,omitempty"`
	Make     string `json:"make,omitempty"`
	Erase    string `json:"erase,omitempty"`
	Format   bool   `json:"format,omitempty"`
	Start    bool   `json:"start,omitempty"`
	Outdated bool   `json:"outdated,omitempty"`
	Promote  string `json:"promote,omitempty"`
	Discard  bool   `json:"discard,omitempty"`
	Standby  bool   `json:"standby,omitempty"`
	Verify   string `json:"verify,omitempty"`
	Wait     string `json:"wait,omitempty"`
	// Copy is an archive that somebody waits for, of the volume or to be restored.
	Copy *Copy `json:"copy,omitempty"`
	// Contents is what the active half keeps and exports; the other one keeps it for when it takes over.
	Contents Contents `json:"contents"`
}

// Contents is what the volume has and who may mount it. The active half makes it so and reports Revision when directories
// and exports are so; the images that it offers are in its report by name.
// What it does not list is not exported; images that it does not list are deleted, volumes and state never.
type Contents struct {
	// Revision differs whenever the rest does; "" means that the server does not know yet: leave everything.
	Revision string   `json:"revision,omitempty"`
	Images   []Image  `json:"images,omitempty"`
	Dirs     []Dir    `json:"dirs,omitempty"`
	Exports  []Export `json:"exports,omitempty"`
}

// Image is a version to offer at images/NAME/VERSION below the export's root.
type Image struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Squashfs and Seal are paths on the boot servers, as in agent.RAMRoot; Size is the squashfs's in bytes.
	Squashfs string `json:"squashfs"`
	Seal     string `json:"seal"`
	Size     int64  `json:"size"`
}

// Dir is a directory that is made when it is missing; one that is there keeps what it has.
type Dir struct {
	// Path is relative and clean: volumes/www, state/web-01/var-log.
	Path string `json:"path"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Mode is the permission bits with setuid, setgid and sticky as chmod(2) has them.
	Mode uint32 `json:"mode"`
}

// Export is a directory and who may mount it.
type Export struct {
	// Path is relative to the volume: images, volumes/www, state/web-01; "" is the root of all (fsid=0), which
	// clients pass through.
	Path     string         `json:"path"`
	Clients  []netip.Prefix `json:"clients"`
	ReadOnly bool           `json:"readOnly,omitempty"`
	// NoRootSquash lets a client's root be root.
	NoRootSquash bool `json:"noRootSquash,omitempty"`
}

// Vote is what corosync-qdevice needs for TLS with corosync-qnetd.
type Vote struct {
	// Bundle is PKCS #12 (RFC 7292): the cluster's certificate and key ("Cluster Cert") with the authority's
	// ("QNet CA"), protected by Password.
	Bundle   []byte `json:"bundle"`
	Password string `json:"password"`
}
