package dhcpd

import (
	"context"
	"net/netip"
)

// Policy decides what each machine gets. It is called by several goroutines.
type Policy interface {
	// Host says what the machine that sent r gets. It is asked for every DISCOVER, REQUEST and INFORM of a
	// known subnet that is for this server, before the answer: it may read and write a store, but a batch of
	// requests waits for it. If it cannot tell, because its store fails, it returns Ignore: the machine asks
	// again soon, but does not notice that it got the wrong address.
	Host(ctx context.Context, r *Request) Host
	// Reserved reports whether an address belongs to somebody by policy, so that it is never given out
	// dynamically. It is asked often and must only look into memory.
	Reserved(a netip.Addr) bool
}

// Host is what a machine gets. The zero Host is a machine like any other: a dynamic address and the boot file
// of its architecture.
type Host struct {
	// Address is the machine's fixed address; zero means a dynamic one. It overrides everything: a machine
	// that renews another one is told NAK so that it moves, and whoever holds a lease of it loses that. It
	// must lie in the subnet that the machine asks from; otherwise the machine gets a dynamic one there.
	Address netip.Addr
	// Hostname is the machine's name (option 12), without domain; empty means none.
	Hostname string
	// Ignore means that the machine gets no answer at all.
	Ignore bool
	// BootFile replaces the file of the boot file table for the machine's firmware; empty means the
	// table's. iPXE gets its script regardless.
	BootFile string
	// NoBoot means that the machine gets its address and name, but is told nothing to boot: its firmware goes on
	// to the next device of its boot order.
	NoBoot bool
}

// anyone is the Policy of a server without one: nobody is known.
type anyone struct{}

func (anyone) Host(context.Context, *Request) Host { return Host{} }
func (anyone) Reserved(netip.Addr) bool            { return false }
