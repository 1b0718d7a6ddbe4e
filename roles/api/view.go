package api

import (
	"net/netip"
	"time"

	"muster/images"
	"muster/roles"
)

// LeaseView is an address held by a MAC until a time.
type LeaseView struct {
	MAC      roles.MAC  `json:"mac,omitzero"`
	Address  netip.Addr `json:"address"`
	Hostname string     `json:"hostname,omitempty"`
	Expires  time.Time  `json:"expires"`
	// State is active, expired or declined. A declined address has no MAC.
	State string `json:"state,omitempty"`
}

// Finding is what one of the doctor's checks found.
type Finding struct {
	// Check names it: "dhcp", "tftp", …
	Check string `json:"check"`
	// Status is ok, warn or fail.
	Status string `json:"status"`
	// Detail says in a sentence what was found; Fix what to do about it, "" when nothing.
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// The statuses of a Finding.
const (
	StatusOK   = "ok"
	StatusWarn = "warn"
	StatusFail = "fail"
)

// BuildProgress is one line of an image build.
type BuildProgress struct {
	// Step is the stage: "packages", "kernel", … Message is a sentence or a line of the tool's output.
	Step    string `json:"step"`
	Message string `json:"message,omitempty"`
	// Percent done, 1 to 100; 0 when not known.
	Percent int `json:"percent,omitempty"`
	// Remaining is an estimate of the time left; 0 while there is none.
	Remaining roles.Duration `json:"remaining,omitzero"`
}

// Version tells which server answers.
type Version struct {
	Version string `json:"version"`
	// Started is when the server began to serve.
	Started time.Time `json:"started,omitzero"`
}

// Liveness is the answer of healthz: the server runs and can read its store.
type Liveness struct {
	Status   string `json:"status"`
	Revision uint64 `json:"revision"`
}

// AssignRequest asks for a pool, and for one of its slots or any ("").
type AssignRequest struct {
	Pool string `json:"pool"`
	Slot string `json:"slot,omitempty"`
}

// ReplaceRequest names the node that takes over the slot: a MAC, seen or not.
type ReplaceRequest struct {
	By string `json:"by"`
}

// PowerRequest asks for on, off, cycle or status.
type PowerRequest struct {
	Action roles.PowerAction `json:"action"`
}

// PowerStatus says whether the machine is on now.
type PowerStatus struct {
	On bool `json:"on"`
}

// RestartRequest says why the node restarts, for its console and its timeline; "" is "an operator asked for it".
type RestartRequest struct {
	Why string `json:"why,omitempty"`
}

// SyncStatus is a node that was asked to fetch its files.
type SyncStatus struct {
	Node roles.Node `json:"node"`
	// Wanted is the revision of the files that it shall have: it has them when the node's files are of this
	// revision.
	Wanted string `json:"wanted"`
}

// RolloutRequest asks for a rollout.
type RolloutRequest struct {
	// Image is the version to roll out, "web:8"; a name alone means its current one, "" the current version
	// of the image of the pool's role.
	Image string `json:"image,omitempty"`
	// Canary is how many nodes go first, Batch how many at a time after that; 0 means 1.
	Canary int `json:"canary,omitempty"`
	Batch  int `json:"batch,omitempty"`
	// Timeout is how long one node may take until it is ready; 0 means 10 min.
	Timeout roles.Duration `json:"timeout,omitzero"`
}

// ClaimRequest gives a disk to a half of a storage pair, with all that is on it.
type ClaimRequest struct {
	Slot string `json:"slot"`
	// Disk is its serial number, or its device.
	Disk string `json:"disk"`
	// Confirm is the name of the slot once more: all that is on the disk is lost.
	Confirm string `json:"confirm"`
}

// PromoteRequest asks a storage pair to go on with the data of one half, without the other.
type PromoteRequest struct {
	Slot string `json:"slot"`
	// Off says that somebody made sure that the other machine is off, and stays so until this one serves. Without
	// it Muster switches it off.
	Off bool `json:"off,omitempty"`
	// Confirm is the name of the slot once more: what only the other half has is lost.
	Confirm string `json:"confirm"`
}

// KeepRequest decides a split: the data of this half stay.
type KeepRequest struct {
	Slot string `json:"slot"`
	// Confirm is the name of the slot once more: what the other half wrote since they parted is lost.
	Confirm string `json:"confirm"`
}

// MaintenanceRequest takes a half out of service, or back.
type MaintenanceRequest struct {
	Slot string `json:"slot"`
	On   bool   `json:"on"`
}

// PruneRequest says which image versions to remove.
type PruneRequest struct {
	// Name limits it to one image; "" means all.
	Name string `json:"name,omitempty"`
	// Keep is how many of the newest versions of each image stay in any case; 0 means 2.
	Keep int `json:"keep,omitempty"`
	// DryRun removes nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// Verification is what comparing an image with its manifest found.
type Verification struct {
	Image images.Image `json:"image"`
	// Problems is empty when every path is as it was published.
	Problems []Problem `json:"problems"`
}

// Problem is one path of an image that is not as it was published.
type Problem struct {
	// Path is relative to the version's directory; one with bytes that are no text is quoted as in Go.
	Path string `json:"path"`
	// What is wrong, for people.
	What string `json:"what"`
}

// SecretRequest carries the operator's own value of a secret, in base64.
type SecretRequest struct {
	Value []byte `json:"value"`
}

// BuildLine is one line of a build's stream: progress until the last, which has the image or the error.
type BuildLine struct {
	Progress *BuildProgress `json:"progress,omitempty"`
	Image    *images.Image  `json:"image,omitempty"`
	Error    string         `json:"error,omitempty"`
	Kind     string         `json:"kind,omitempty"`
}
