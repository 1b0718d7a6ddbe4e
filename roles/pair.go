package roles

import (
	"net/netip"
	"time"
)

// PairSpec makes a pool a storage pair: its two nodes replicate one disk, and one of them at a time, the active
// one, exports it on Address.
type PairSpec struct {
	// Address floats between the halves; nodes mount from it. It lies in the network of the pool's addresses and
	// is nobody else's. Required.
	Address netip.Addr `yaml:"address" json:"address"`
	// Disk says which disk of a half is the pair's. Required.
	Disk DiskRule `yaml:"disk" json:"disk"`
	// BackupAge is how old the latest backup that was whole may be before that is an alert: 26h for one a night.
	// Default and zero: never, backups are made elsewhere.
	BackupAge Duration `yaml:"backupAge,omitempty" json:"backupAge,omitzero"`
}

// DiskRule finds the one disk that a half may use. Every field that is set must match, at least one is, and
// exactly one disk must match: which it is is never guessed.
type DiskRule struct {
	// Path is a device, /dev/disk/by-path/… rather than /dev/sda, whose name may be another one's tomorrow.
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// Serial is a pattern (path.Match, without case) over the disk's serial number.
	Serial string `yaml:"serial,omitempty" json:"serial,omitempty"`
	// SizeMin is the least size in GiB.
	SizeMin float64 `yaml:"sizeMin,omitempty" json:"sizeMin,omitempty"`
}

// The phases of a half, in order.
const (
	PhaseDisk    = "disk"    // looks for its disk
	PhaseRefused = "refused" // found none that it may use; Why says why, and what to do
	PhaseReady   = "ready"   // its disk has metadata and is attached; it may be started
	PhaseCluster = "cluster" // Pacemaker runs
)

// Half is what a storage machine says of itself, every few seconds.
type Half struct {
	Phase string `json:"phase"`
	// Why is a sentence: what it waits for or what is wrong.
	Why string `json:"why,omitempty"`
	// Disk is the device that the rule found, Serial its serial number (its path where it has none), Size its
	// bytes.
	Disk   string `json:"disk,omitempty"`
	Serial string `json:"serial,omitempty"`
	Size   int64  `json:"size,omitempty"`
	// Meta is the device-uuid in the disk's DRBD metadata, in hex; empty where it has none.
	Meta string `json:"meta,omitempty"`
	// Carries says what is on a disk besides DRBD's metadata ("a partition table (gpt)"); empty for one that is
	// blank or is known by its Meta.
	Carries string `json:"carries,omitempty"`
	// Role, DiskState, PeerDisk and Connection are DRBD's own words: Primary, UpToDate, Outdated, Connected.
	Role       string `json:"role,omitempty"`
	DiskState  string `json:"diskState,omitempty"`
	PeerDisk   string `json:"peerDisk,omitempty"`
	Connection string `json:"connection,omitempty"`
	// Synced is how much of a running resync is done, in percent; Left is how many seconds DRBD thinks that it takes.
	Synced float64 `json:"synced,omitempty"`
	Left   int64   `json:"left,omitempty"`
	// Joined says that Pacemaker has both or this node in its membership, Quorate that this side may act, QDevice
	// that the boot server's third vote is heard.
	Joined  bool `json:"joined,omitempty"`
	Quorate bool `json:"quorate,omitempty"`
	QDevice bool `json:"qdevice,omitempty"`
	// Standby says that Pacemaker runs nothing here, as an operator wanted.
	Standby bool `json:"standby,omitempty"`
	// Active says that it has the volume mounted, exported, and the floating address.
	Active bool `json:"active,omitempty"`
	// Frozen says that DRBD holds up all reads and writes until the other half is fenced or back.
	Frozen bool `json:"frozen,omitempty"`
	// Capacity and Used are the volume's, in bytes; only the active half knows.
	Capacity int64 `json:"capacity,omitempty"`
	Used     int64 `json:"used,omitempty"`
	// Images are the versions that the active half offers, whole and verified: "web:7".
	Images []string `json:"images,omitempty"`
	// Revision is that of the contents, as the boot server gave them with its orders, whose directories and exports the
	// active half has made so; empty while it is at work. Images it names itself.
	Revision string `json:"revision,omitempty"`
	// Split says that DRBD found that both sides were written; nothing is discarded by itself.
	Split bool `json:"split,omitempty"`
	// Verify is the outcome of the last online verification: "2026-03-01T12:00:00Z: no differences".
	Verify string `json:"verify,omitempty"`
	// Errors are what went wrong lately, as sentences.
	Errors []string `json:"errors,omitempty"`
}

// PairOrders is what a half is to do. It is what should be, not what should happen: a half that has it already
// does nothing.
type PairOrders struct {
	// Rule finds the disk.
	Rule DiskRule `json:"rule"`
	// Known is the Meta by which the disk is the pair's; empty while the pair knows no disk of this half.
	Known string `json:"known,omitempty"`
	// Make is the Serial of the blank disk on which metadata may be made: the pair is new, or this disk replaces
	// another. Empty for none.
	Make string `json:"make,omitempty"`
	// Erase is the Serial of the disk that an operator gave with all that is on it; empty for none.
	Erase string `json:"erase,omitempty"`
	// Format says that this half makes the file system of a new pair, once both are connected, and reports that
	// (see Registry.PairMade).
	Format bool `json:"format,omitempty"`
	// Start says that Pacemaker may run.
	Start bool `json:"start,omitempty"`
	// Outdated says that the other half has newer data: before anything else this one's are marked so.
	Outdated bool `json:"outdated,omitempty"`
	// Promote is set when an operator has decided that this half's data are the ones that count; its value is
	// another one for each decision.
	Promote string `json:"promote,omitempty"`
	// Discard says that an operator has decided a split against this half: it connects and takes the other's data.
	Discard bool `json:"discard,omitempty"`
	// Standby says that an operator wants nothing to run here.
	Standby bool `json:"standby,omitempty"`
	// Verify asks for a comparison of both disks; its value is another one for each request.
	Verify string `json:"verify,omitempty"`
	// Wait is a sentence: why it may not start yet. For its console.
	Wait string `json:"wait,omitempty"`
}

// Pair is what is kept of a storage pair.
type Pair struct {
	// Pool is the pool's name, which is the pair's.
	Pool string `json:"pool"`
	// Made is when its file system was made; zero for a new pair. It is noted only when that was done: until
	// then there is nothing on it.
	Made time.Time `json:"made,omitzero"`
	// Disks are those that it knows, by slot.
	Disks map[string]PairDisk `json:"disks,omitempty"`
	// Claims are the disks that operators gave with all that is on them, by slot: serial numbers, or what one without was.
	Claims map[string]string `json:"claims,omitempty"`
	// Outdated is the slot whose data are not the newest, who says so and since when; "" for none.
	Outdated     string    `json:"outdated,omitempty"`
	OutdatedBy   string    `json:"outdatedBy,omitempty"`
	OutdatedFrom time.Time `json:"outdatedFrom,omitzero"`
	// Fenced is when each slot's machine was switched off by the other half; gone when it is switched on again.
	Fenced map[string]time.Time `json:"fenced,omitempty"`
	// Shooter is the slot whose machine is switching the other's off, since ShotAt; "" for none. While it does,
	// the other one may not do the same.
	Shooter string    `json:"shooter,omitempty"`
	ShotAt  time.Time `json:"shotAt,omitzero"`
	// Active is the slot that was active last; Before is the one before it, and At when that changed.
	Active string    `json:"active,omitempty"`
	Before string    `json:"before,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Took is how long the pair was not served at that change, as the boot server saw it.
	Took Duration `json:"took,omitzero"`
	// Promoted is an operator's decision to go on with one half alone: the slot and when.
	Promoted   string    `json:"promoted,omitempty"`
	PromotedAt time.Time `json:"promotedAt,omitzero"`
	// Keep is the slot whose data an operator kept after a split; "" for no decision.
	Keep string `json:"keep,omitempty"`
	// Standby are the slots that operators took out of service.
	Standby []string `json:"standby,omitempty"`
	// Verify is when an operator asked for a comparison of both disks.
	Verify time.Time `json:"verify,omitzero"`
	// Backup is the latest backup that was whole, and BackupFailed the latest one that failed since then; zero for none.
	Backup       PairBackup `json:"backup,omitzero"`
	BackupFailed PairBackup `json:"backupFailed,omitzero"`
}

// PairBackup is a backup of a pair: an archive that left the server whole, or one that did not.
type PairBackup struct {
	// At is when it began: what it has is from then. Took is how long it was on its way.
	At   time.Time `json:"at"`
	Took Duration  `json:"took,omitzero"`
	// Size of the archive in bytes.
	Size int64 `json:"size,omitempty"`
	// To is where it went, as whoever wanted it says; "" when that was not said.
	To string `json:"to,omitempty"`
	// From is the slot of the half that it was read from, or of one where it was refused before.
	From string `json:"from,omitempty"`
	// Why says what went wrong; "" when it was whole.
	Why string `json:"why,omitempty"`
}

// PairDisk is a disk that the pair knows.
type PairDisk struct {
	Serial string `json:"serial"`
	// Meta is empty from when metadata may be made until they have been seen.
	Meta string `json:"meta,omitempty"`
	// Whole says that it has held all data, at some time: the other one may be replaced.
	Whole bool      `json:"whole,omitempty"`
	Since time.Time `json:"since"`
}

// PairView is a storage pair as operators see it.
type PairView struct {
	Pair
	Address netip.Addr `json:"address"`
	// State is one of new, whole, degraded (it serves on one leg), down, split; Why says more, in a sentence.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Serving says that nodes can mount from it.
	Serving bool       `json:"serving"`
	Halves  []HalfView `json:"halves"`
	// Alerts are what somebody has to do something about, as sentences; none is good.
	Alerts []string `json:"alerts,omitempty"`
}

// The states of a pair.
const (
	PairNew      = "new"
	PairWhole    = "whole"
	PairDegraded = "degraded"
	PairDown     = "down"
	PairSplit    = "split"
)

// HalfView is one half as operators see it.
type HalfView struct {
	Half
	Slot string `json:"slot"`
	Node MAC    `json:"node,omitzero"`
	// State is the node's.
	State State `json:"state,omitempty"`
	// Heard is when it last spoke; zero when this server has not heard it.
	Heard time.Time `json:"heard,omitzero"`
	// Fencing is empty while the machine's power can be cut, else why not, and FencingAt when that was tried.
	Fencing   string    `json:"fencing,omitempty"`
	FencingAt time.Time `json:"fencingAt,omitzero"`
}
