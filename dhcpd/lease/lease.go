// Package lease holds the leases of a DHCP server: a compact index in memory by MAC, by address and by
// expiry.
//
// A Table is pure: it knows no clock, no disk and no protocol. Whoever owns it makes a change durable first
// and applies it then. It deliberately keeps nothing per lease that an answer does not need: about 100 bytes
// for each, so that a /14 full of machines stays in memory.
package lease

import (
	"net/netip"
	"time"
)

// Lease is an address held by a MAC until a time (RFC 2131 §1.2). Leases are keyed by MAC and not by client
// identifier (RFC 4361), so that PXE ROM, iPXE and operating system of one machine share one address.
type Lease struct {
	// MAC is the holder and the key: a MAC has one lease. For a declined address it is Quarantine(Addr).
	MAC MAC `json:"mac"`
	// Addr is the IPv4 address; no two leases of a table have the same.
	Addr netip.Addr `json:"address"`
	// Expires is when the holder must have stopped using Addr. A lease that has expired, or was released,
	// stays until somebody else needs the address: its holder gets the same one back until then.
	Expires time.Time `json:"expires"`
	// Hostname is the name that the machine was given or, without one, gave itself; empty is none.
	Hostname string `json:"hostname,omitempty"`
	// Declined says that a client found Addr in use by somebody else (DHCPDECLINE, RFC 2131 §4.3.3): nobody
	// gets it before Expires.
	Declined bool `json:"declined,omitempty"`
}

// Active reports whether the holder may use the address at now.
func (l Lease) Active(now time.Time) bool { return l.Expires.After(now) }
