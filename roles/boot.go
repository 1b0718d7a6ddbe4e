package roles

import (
	"net/netip"
	"time"
)

// Step is one point of a boot, in the order in which a boot goes.
type Step string

// The steps of a boot. Their order is that of Steps.
const (
	StepPower      Step = "power"       // switched on by Muster
	StepDiscover   Step = "discover"    // DHCPDISCOVER or the first REQUEST of the firmware
	StepLease      Step = "lease"       // DHCPACK
	StepNBP        Step = "nbp"         // network boot program fetched
	StepScript     Step = "script"      // iPXE script handed out
	StepKernel     Step = "kernel"      // kernel fetched
	StepInitrd     Step = "initrd"      // initrd fetched
	StepHello      Step = "hello"       // the agent runs and said what the machine is
	StepWait       Step = "wait"        // no slot yet: the agent waits
	StepSpec       Step = "spec"        // boot spec handed to the agent
	StepNetwork    Step = "network"     // the slot's address is set
	StepRoot       Step = "root"        // root file system mounted
	StepMount      Step = "mount"       // volumes and state mounted
	StepFiles      Step = "files"       // overlay files written
	StepSwitchRoot Step = "switch-root" // the agent hands over to the image's init
	StepHealth     Step = "health"      // a health check, failed until it passes
	StepReady      Step = "ready"       // serving
	StepReboot     Step = "reboot"      // the agent restarts the machine, and says why
	StepFail       Step = "fail"        // the boot was given up
	StepOperator   Step = "operator"    // somebody changed something: assign, release, replace, …
	StepStorage    Step = "storage"     // something happened to a storage pair
	StepFence      Step = "fence"       // a storage machine was switched off by its other half, or could not be
)

// Steps is the order in which the steps of a boot come.
var Steps = []Step{
	StepPower, StepDiscover, StepLease, StepNBP, StepScript, StepKernel, StepInitrd, StepHello, StepWait,
	StepSpec, StepNetwork, StepRoot, StepMount, StepFiles, StepSwitchRoot, StepHealth, StepReady,
}

// Event is one thing that happened to a node, at a time, with its step and its error.
type Event struct {
	// Seq is unique and rises with every event of the rack.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Node MAC       `json:"mac"`
	// Name is the node's slot at that time.
	Name string `json:"name,omitempty"`
	// Boot is the boot it belongs to; 0 for none.
	Boot uint64 `json:"boot,omitempty"`
	Step Step   `json:"step"`
	// Message is a sentence for people; Error says what failed and what to try.
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Boot is one attempt of one node to come up.
type Boot struct {
	// ID rises with every boot of the rack, from 1.
	ID   uint64 `json:"id"`
	Node MAC    `json:"mac"`
	// Started is the time of its first event; Ended is zero while it goes on.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Ready says that it ended well.
	Ready bool `json:"ready"`
	// Step is the furthest it has come.
	Step Step `json:"step"`
	// Image and Slot are what it was given; empty before that.
	Image string `json:"image,omitempty"`
	Slot  string `json:"slot,omitempty"`
	// Token is the one-time token of this boot, handed to the machine in its script. It is never
	// listed.
	Token string `json:"-"`
	// Claim is the SHA-256, in hex, of the key by which the machine proves who it is after it redeemed
	// Token: whoever redeems it first gets the secrets, once. It is never listed.
	Claim string `json:"-"`
	// Kernel is the release of the kernel that runs in it, Up when that kernel started, and Taken the
	// number of the last event that its agent reported.
	Kernel string    `json:"kernel,omitempty"`
	Up     time.Time `json:"up,omitzero"`
	Taken  int       `json:"taken,omitempty"`
	// Address is the one that the firmware booted with.
	Address netip.Addr `json:"address,omitzero"`
	// Events are the timeline, oldest first.
	Events []Event `json:"events,omitempty"`
}
