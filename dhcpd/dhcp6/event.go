package dhcp6

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Kind says what happened in an Event.
type Kind string

// The kinds of events.
const (
	Solicited Kind = "solicit"   // a machine looks for a server
	Offered   Kind = "advertise" // it was offered Addr
	Leased    Kind = "reply"     // it has a lease of Addr, durably
	Informed  Kind = "inform"    // it was told about its network
	Confirmed Kind = "confirm"   // it asked whether it is still where it was, and was told
	Refused   Kind = "refuse"    // it gets no address, for Reason
	Declined  Kind = "decline"   // it found Addr in use by somebody else
	Released  Kind = "release"   // it gave Addr back
	Silent    Kind = "silent"    // it got no answer, for Reason
)

// Event is one thing that happened between the server and a machine.
type Event struct {
	Kind Kind
	Time time.Time
	// Request is what the machine sent. It must not be changed.
	Request *Request
	// Addr is the address that it is about; zero for none.
	Addr netip.Addr
	// File is the URL that it was told to boot; empty for none.
	File string
	// Reason says in some words why it was refused or got no answer; empty otherwise.
	Reason string
}

// event tells what a was.
func (a *answer) event(now time.Time) Event {
	e := Event{Time: now, Request: a.req, Addr: a.addr, Reason: a.why}
	if a.kind != 0 && !a.bare && a.req.wants(dhcpv6.OptionBootfileURL) {
		e.File = a.file
	}
	switch t := a.req.Type; {
	case a.kind == dhcpv6.MessageTypeNone:
		e.Kind = Silent
	case t == dhcpv6.MessageTypeInformationRequest:
		e.Kind = Informed
	case t == dhcpv6.MessageTypeConfirm && !a.req.unicast():
		e.Kind = Confirmed
	case !a.addr.IsValid():
		e.Kind, e.Reason = Refused, a.refusal()
	case t == dhcpv6.MessageTypeRelease:
		e.Kind = Released
	case t == dhcpv6.MessageTypeDecline:
		e.Kind = Declined
	case a.kind == dhcpv6.MessageTypeAdvertise:
		e.Kind = Offered
	default:
		e.Kind = Leased
	}
	return e
}

// refusal says why an answer has no address.
func (a *answer) refusal() string {
	switch {
	case a.notOnLink:
		return "its address is not of this network"
	case a.noBinding:
		return "it has no such lease"
	case a.bare:
		return "it must ask all servers, not one"
	}
	return "no address is left"
}
