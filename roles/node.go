package roles

import (
	"net/netip"
	"time"
)

// State is what a node is doing, in one word.
type State string

// The states of a node.
const (
	// StateWaiting: known, but no pool has a slot for it; it waits in the agent or is off.
	StateWaiting State = "waiting"
	// StateBooting: a boot is under way.
	StateBooting State = "booting"
	// StateReady: its health check passes.
	StateReady State = "ready"
	// StateFailed: its boot failed, or its health check stopped passing.
	StateFailed State = "failed"
	// StateOff: switched off on purpose, or declared and never seen.
	StateOff State = "off"
	// StateDraining: it still runs, but is no longer a member of its slot's pool: it was assigned
	// elsewhere and moves at its next boot.
	StateDraining State = "draining"
)

// Node is one machine, physical or virtual.
type Node struct {
	// MAC is the address it boots from; it is the node's key.
	MAC MAC `json:"mac"`
	// Name is the name of its slot, or "" without one. It is derived, not stored.
	Name string `json:"name"`
	// Pool is the pool it belongs to, whether by assignment or by rule; "" when it waits.
	Pool string `json:"pool"`
	// Assigned says that an operator chose Pool: rules do not move the node.
	Assigned bool `json:"assigned,omitempty"`
	// Slot is the slot it occupies (its name); "" for none. While the node is draining this is the
	// slot of its former pool.
	Slot string `json:"slot"`
	// WantSlot is the slot that an operator asked for in an assignment; "" means any.
	WantSlot string `json:"wantSlot,omitempty"`
	// Address is the slot's, or the dynamic lease's where it has no slot. Derived from the slot when
	// there is one.
	Address netip.Addr `json:"address"`
	// State in one word, since when, and Why in a sentence: what it waits for, what failed.
	State State     `json:"state"`
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
	// Joined says how it got its slot, Match rule by rule.
	Joined string   `json:"joined,omitempty"`
	Match  []string `json:"match,omitempty"`
	// Replaced tells that another machine took over this one's slot.
	Replaced *Replacement `json:"replaced,omitempty"`
	// Released says that an operator took it out of its pool: rules leave it alone until it is assigned.
	Released bool `json:"released,omitempty"`
	// Labels are the operator's.
	Labels map[string]string `json:"labels,omitempty"`
	// Power says how it is switched; nil means by hand.
	Power *Power `json:"power,omitempty"`
	// Facts are what the machine told of itself.
	Facts Facts `json:"facts,omitzero"`
	// Image is what it booted last, "web:7"; "" before that.
	Image string `json:"image,omitempty"`
	// Storage is the storage pair that it mounts from since its latest boot; "" for the boot server, as in Pool.
	Storage string `json:"storage,omitempty"`
	// Restart says that somebody wants the machine to restart, and why; it is gone when its next boot begins.
	Restart string `json:"restart,omitempty"`
	// Sync says that somebody wants the machine to have its files as they are now; it is gone when the machine
	// has them, or boots again.
	Sync bool `json:"sync,omitempty"`
	// Files is the revision of the files that it has, as its own agent said last; "" when it said nothing.
	Files string `json:"files,omitempty"`
	// Boot is the number of its latest boot; 0 for none.
	Boot uint64 `json:"boot,omitempty"`
	// FirstSeen and LastSeen: when it first and last spoke to a boot service.
	FirstSeen time.Time `json:"firstSeen,omitzero"`
	LastSeen  time.Time `json:"lastSeen,omitzero"`
	// Failures counts the health checks that failed in a row.
	Failures int `json:"failures,omitempty"`
}

// Replacement tells who took over a slot, and when.
type Replacement struct {
	Slot string    `json:"slot"`
	By   MAC       `json:"by"`
	At   time.Time `json:"at"`
}

// Power says which driver switches a node, and its address there.
type Power struct {
	// Driver is one of the configured drivers: lab, …
	Driver string `yaml:"driver" json:"driver"`
	// Target is the driver's name for the machine; empty means the MAC.
	Target string `yaml:"target,omitempty" json:"target,omitempty"`
}

// Facts are what is known of a machine before and at hello. Zero fields are not known (yet).
type Facts struct {
	// Arch is the processor: x86_64, i386, arm64.
	Arch string `json:"arch,omitempty"`
	// Firmware is bios or uefi.
	Firmware string `json:"firmware,omitempty"`
	// UUID is the SMBIOS system UUID, lower case.
	UUID         string `json:"uuid,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Asset        string `json:"asset,omitempty"`
	// Address is the one the machine asked from (its dynamic lease or the slot's).
	Address netip.Addr `json:"address,omitzero"`
	// Circuit and Remote are the relay agent's sub-options 1 and 2 (RFC 3046).
	Circuit string `json:"circuit,omitempty"`
	Remote  string `json:"remote,omitempty"`
	// Inventory is complete only after hello.
	Inventory *Inventory `json:"inventory,omitempty"`
}

// Inventory is what the agent finds in a machine.
type Inventory struct {
	// Memory in MiB.
	Memory int    `json:"memory"`
	CPUs   int    `json:"cpus"`
	CPU    string `json:"cpu,omitempty"`
	NICs   []NIC  `json:"nics,omitempty"`
	Disks  []Disk `json:"disks,omitempty"`
}

// NIC is one network interface of a machine.
type NIC struct {
	Name   string `json:"name"`
	MAC    MAC    `json:"mac"`
	Driver string `json:"driver,omitempty"`
	// Speed in Mbit/s; 0 when not known.
	Speed int  `json:"speed,omitempty"`
	Link  bool `json:"link"`
}

// Disk is one block device of a machine.
type Disk struct {
	Name string `json:"name"`
	// Size in bytes.
	Size   int64  `json:"size"`
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
}
