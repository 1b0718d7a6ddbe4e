package roles

import (
	"net/netip"
	"time"
)

// Slot is a numbered place in a pool: hostname, address, state directory. A node occupies it; a
// replacement takes the empty slot and with it the identity. Slots exist as long as their pool does,
// occupied or not.
type Slot struct {
	// Name is unique: web-03. It is the occupant's hostname and the name of its state directory.
	Name string `json:"name"`
	// Pool and Number make the name.
	Pool   string `json:"pool"`
	Number int    `json:"number"`
	// Address is the occupant's; no one else ever gets it.
	Address netip.Addr `json:"address"`
	// Node occupies the slot; zero when it is empty.
	Node MAC `json:"node,omitzero"`
	// Since is when the occupant took it, or when the last one left.
	Since time.Time `json:"since,omitzero"`
	// Used says that a node has occupied it before: there may be state to take over.
	Used bool `json:"used,omitempty"`
}
