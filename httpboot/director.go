package httpboot

import (
	"context"
	"net/netip"
	"os"
	"time"

	"muster/httpboot/agent"
)

// Director decides what machines boot. Its methods may be called at the same time. Their errors wrap
// io/fs kinds (see Status) and are shown to whom they concern: on the machine's screen.
type Director interface {
	// Script says what m does now. An error becomes a script that shows it and asks again.
	Script(ctx context.Context, m Machine) (Script, error)
	// Hello takes a node's first word and answers it. An agent that is not sure repeats it.
	Hello(ctx context.Context, remote netip.Addr, h agent.Hello) (agent.Reply, error)
	// Poll answers again. It may wait for an answer until ctx ends (agent.PollHold at most); the agent
	// asks again after that, whether Poll returned the reply to wait or ctx's error.
	Poll(ctx context.Context, p agent.Poll) (agent.Reply, error)
	// Claim redeems a boot's token; it is asked over TLS only.
	Claim(ctx context.Context, c agent.Claim) (agent.Claimed, error)
	// Present takes a word of a node's running system and answers with what to do, over TLS only. Like Poll,
	// it may wait until ctx ends.
	Present(ctx context.Context, p agent.Present) (agent.NodeOrders, error)
	// Pair takes a word of a storage machine, over TLS only, and gives what goes back as JSON.
	Pair(ctx context.Context, c agent.PairCall) (any, error)
	// Report takes a node's events. The agent repeats what was not answered: Event.Seq tells.
	Report(ctx context.Context, r agent.Report) error
}

// Images opens the files of published images. An unknown one is fs.ErrNotExist.
type Images interface {
	Open(name string, version int, file string) (*os.File, error)
}

// Machine is what iPXE says of the machine it runs on. All but MAC may be empty. The texts are the
// firmware's own: treat them as any input.
type Machine struct {
	// MAC is the boot NIC's, in lower-case colon form.
	MAC string
	// UUID is the SMBIOS UUID, lower case.
	UUID string
	// Arch is x86_64, i386, arm64 or arm32.
	Arch string
	// Platform is bios or uefi.
	Platform                             string
	Manufacturer, Product, Serial, Asset string
	// IP is the address that iPXE says it has; Remote is where the request came from.
	IP, Remote netip.Addr
	// Server is the local address that the request came in on.
	Server netip.AddrPort
	// Base is the server's URL as the machine reaches it, without a trailing slash:
	// http://10.77.0.1:8080
	Base string
}

// Kind says what a script does.
type Kind int

const (
	// Wait shows Message and asks again after Retry. It is the zero Kind: a Director that forgets to
	// decide harms nobody.
	Wait Kind = iota
	// Boot starts Kernel and Initrd.
	Boot
	// Local leaves the machine to its own disk or to the next entry of the firmware's boot order.
	Local
)

// Script is what a machine is told to do.
type Script struct {
	Kind Kind
	// Title names what boots, for the machine's screen: "web:7 as web-03".
	Title string
	// Message is shown with Wait and Local: why.
	Message string
	// Retry is the pause before a waiting machine asks again, in whole seconds; zero means 5 s. (A machine
	// that boots in vain asks again after 2 s, and then later and later.)
	Retry time.Duration
	// Kernel and Initrd are URLs, or paths on this server ("/images/web/7/vmlinuz"), to which mac and
	// boot are added for Observe.
	Kernel, Initrd string
	// Boot names this boot attempt in Observe; empty for none.
	Boot string
	// Cmdline is the role's kernel command line. Console, restart-on-panic and muster.* parameters are
	// added before it, so that it can override them.
	Cmdline string
	// Token, Address and Gateway become the agent's parameters (see agent.ParamToken and its neighbours).
	// Address is required for Boot.
	Token   string
	Address netip.Prefix
	Gateway netip.Addr
	// Key and Pin become agent.ParamKey and agent.ParamPin, Root agent.ParamRoot; empty ones are left out.
	Key, Pin, Root string
	// Server is this server's base URL for the agent, which speaks IPv4 only; empty means the one that iPXE used.
	Server string
	// Servers are the base URLs of more boot servers; this one always comes first.
	Servers []string
}

// Fetch tells of one download, when it is over.
type Fetch struct {
	Remote netip.Addr
	// Area is images, nbp or files: the first part of the path. File is the rest of it.
	Area, File string
	// MAC (lower-case colon form) and Boot are what the URL of a boot file carries; empty for others.
	MAC, Boot string
	// Size of the file, Bytes handed to the kernel to send.
	Size, Bytes int64
	// Complete says that the file was sent to its end.
	Complete bool
	Took     time.Duration
}
