package dhcpd

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// Kind says what happened in an Event.
type Kind string

// The kinds of events.
const (
	Discover Kind = "discover" // a machine looks for a server
	Offered  Kind = "offer"    // it was offered Addr
	Acked    Kind = "ack"      // it has a lease of Addr, durably
	Informed Kind = "inform"   // it has Addr by other means and was told about its network
	Refused  Kind = "nak"      // it asked for an address that it must not use, for Reason
	Declined Kind = "decline"  // it found Addr in use by somebody else
	Released Kind = "release"  // it gave Addr back
	Directed Kind = "direct"   // it has Addr by other means and was told what to boot, and no more
	Chosen   Kind = "chosen"   // Proxy: it takes Addr from the other server, Request.ServerID
	Silent   Kind = "silent"   // it got no answer, for Reason
	Conflict Kind = "conflict" // Other uses Addr, which is free or lent to MAC; there is no Request
)

// OtherServer is the Reason of the silence for a machine that chose another server, Request.ServerID.
const OtherServer = "other-server"

// Probing is the Reason of the silence for a machine that is offered an address when it asks again, because none is known
// to be free yet (Server.Probe).
const Probing = "probing"

// Event is one thing that happened between the server and a machine.
type Event struct {
	Kind Kind
	Time time.Time
	// Request is what the machine sent: who it is, where it is, which program of it is speaking. It must not be
	// changed, and is valid only while Observe runs.
	Request *Request
	// Interface, MAC and Other are of a conflict only: where it is, whose address Addr is (zero for nobody's), and which
	// machine uses it.
	Interface  string
	MAC, Other lease.MAC
	// Addr is the address that it is about; zero for discover and silent, and for what has none or does not say it.
	Addr netip.Addr
	// Hostname is the name that the machine was given; empty for none.
	Hostname string
	// File is the boot file or URL that it was told; empty for none.
	File string
	// Reason says in some words why it was refused or got no answer; empty otherwise.
	Reason string
}

// event tells what a was.
func (a *answer) event(now time.Time) Event {
	e := Event{Time: now, Request: a.req, Addr: a.addr, Hostname: a.host.Hostname, File: a.file, Reason: a.why}
	switch {
	case a.chosen().IsValid():
		e.Kind, e.Addr, e.Reason = Chosen, a.chosen(), ""
	case a.direct && a.kind == dhcpv4.MessageTypeAck:
		e.Kind, e.Addr = Directed, a.req.Client
	case a.why != "" && a.kind == dhcpv4.MessageTypeNak:
		e.Kind = Refused
		e.Addr = a.req.Requested
		if a.req.Client.IsValid() {
			e.Addr = a.req.Client
		}
	case a.why != "":
		e.Kind, e.Addr = Silent, netip.Addr{}
	case a.req.Type == dhcpv4.MessageTypeDecline:
		e.Kind = Declined
	case a.req.Type == dhcpv4.MessageTypeRelease:
		e.Kind = Released
	case a.req.Type == dhcpv4.MessageTypeInform:
		e.Kind, e.Addr = Informed, a.req.Client
	case a.kind == dhcpv4.MessageTypeOffer:
		e.Kind = Offered
	default:
		e.Kind = Acked
	}
	return e
}
