package dhcp6

import "context"

// Policy decides what each machine gets. It is called by several goroutines.
type Policy interface {
	// Host says what the machine that sent r gets. It is asked for every message that may be answered with an
	// address or a boot file, before the answer: it may read and write a store, but a batch waits for it. If it
	// cannot tell, because its store fails, it returns Ignore: the machine asks again soon.
	Host(ctx context.Context, r *Request) Host
}

// Host is what a machine gets. The zero Host is an unknown machine: an address, as long as there are not too many
// of its kind, and the boot file of its architecture.
type Host struct {
	// Known means that the machine is one of ours: no limit holds for it. It counts only where r.Key is a MAC.
	Known bool
	// Ignore means that the machine gets no answer at all.
	Ignore bool
	// BootFile replaces the file of the boot file table for the machine's firmware; empty means the table's.
	// iPXE gets its script regardless.
	BootFile string
	// Params are the parameters of the boot file (option 60, RFC 5970 §3.2); nil means that none are sent. Some
	// UEFI firmware takes the first one for the TFTP block size.
	Params []string
}

// anyone is the Policy of a server without one: nobody is known.
type anyone struct{}

func (anyone) Host(context.Context, *Request) Host { return Host{} }
