// Package lease6 holds the leases of a DHCPv6 server: an index in memory by holder and by address.
//
// A Table is pure: it knows no clock, no disk and no protocol. Whoever owns it makes a change durable first and
// applies it then. It is apart from package lease, whose rows are made for IPv4 addresses and a hundred thousand
// machines: here the server bounds how many there are, and looking at all of them is allowed.
package lease6

import (
	"net/netip"
	"time"
)

// Lease is an address held until a time.
type Lease struct {
	// Key is the holder: it has one lease. For a declined address it is Quarantine(Addr).
	Key Key
	// Addr is the IPv6 address; no two leases of a table have the same.
	Addr netip.Addr
	// Expires is when the holder must have stopped using Addr (its valid lifetime, RFC 8415 §7.7). A lease that
	// has expired, or was released, stays until somebody else needs the address or the room.
	Expires time.Time
	// Unknown says that the server knew nothing of the holder: there are only so many of these.
	Unknown bool
	// Declined says that a client found Addr in use by somebody else (RFC 8415 §18.3.8): nobody gets it before
	// Expires.
	Declined bool
}

// Active reports whether the holder may use the address at now.
func (l Lease) Active(now time.Time) bool { return l.Expires.After(now) }
