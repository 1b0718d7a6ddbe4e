package api

import (
	"net/netip"
	"time"

	"muster/images"
	"muster/roles"
)

// LeaseView is an address held by a MAC until a time.
type LeaseView struct {
	MAC      roles.MAC  `json:"mac"`
	Address  netip.Addr `json:"address"`
	Hostname string     `json:"hostname,omitempty"`
	Expires  time.Time  `json:"expires"`
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

// BuildLine is one line of a build's stream: progress until the last, which has the image or the error.
type BuildLine struct {
	Progress *BuildProgress `json:"progress,omitempty"`
	Image    *images.Image  `json:"image,omitempty"`
	Error    string         `json:"error,omitempty"`
	Kind     string         `json:"kind,omitempty"`
}
