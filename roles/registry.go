package roles

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"muster/images"
)

// Registry applies the rules of the rack to its store. The boot services tell it what machines say, the
// operators' API what people want; both get values back. Its methods may be called at the same time.
//
// A node is named by a key: its MAC in any notation, or the name of the slot that it occupies. Errors wrap
// fs.ErrNotExist (no such node, pool, …), fs.ErrExist (taken), fs.ErrInvalid (bad request) or
// fs.ErrPermission (wrong token), and say in a sentence what is wrong and what to do.
type Registry struct {
	// Store keeps the rack. Required.
	Store Store
	// Images finds published images. Required.
	Images Images
	// Library holds the built-in roles and the operator's own, by name; a declared role overrides the
	// library's field by field. Nil means none.
	Library map[string]Role
	// Power holds the power drivers by name. Nil means none.
	Power map[string]Driver
	// DefaultPower is the driver of nodes that declare none, with the MAC as target; "" means that they
	// are switched by hand.
	DefaultPower string
	// Subnets are those that DHCP serves: a pool's addresses must lie in one. Nil means not checked.
	Subnets []netip.Prefix
	// Ranges are the addresses that DHCP gives to any machine: a pair's own must not be one. Nil means not checked.
	Ranges []AddressRange
	// Network gives the network that an address of a pool is in; ok is false where this server serves none
	// such. Nil means none: files that need its values cannot be rendered then.
	Network func(netip.Addr) (n Network, ok bool)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log gets one line for every decision; nil is silent.
	Log *slog.Logger

	takeover sync.Mutex // held while a slot is taken from a machine that may still run
	agents   agents     // which nodes' own agents speak
	pairs    pairMemory // what the halves of storage pairs said last
}

func (r *Registry) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Registry) log() *slog.Logger {
	if r.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Log
}

// Network is what a node must know of the subnet that it is in.
type Network struct {
	Prefix netip.Prefix
	// Router and Domain may be empty, as may DNS.
	Router netip.Addr
	DNS    []netip.Addr
	Domain string
	// Server is the boot server's address there.
	Server netip.Addr
}

// Images finds published images.
type Images interface {
	// Find gives ref's image; version 0 means the current one. The error wraps fs.ErrNotExist and says
	// how to build it.
	Find(ref images.Ref) (images.Image, error)
}

// Driver switches machines. Target is the driver's own name for a machine.
type Driver interface {
	// On switches the machine on; a machine that is on stays so.
	On(ctx context.Context, target string) error
	// Off cuts the power; a machine that is off stays so.
	Off(ctx context.Context, target string) error
	// Status reports whether the machine is on.
	Status(ctx context.Context, target string) (on bool, err error)
}

// Checker runs one health check against a node. A nil error means that it passed.
type Checker interface {
	Check(ctx context.Context, h Health, n Node) error
}
