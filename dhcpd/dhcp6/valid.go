package dhcp6

import "github.com/insomniacslk/dhcp/dhcpv6"

// drop is the reason why a packet gets no answer, as the metrics count it.
type drop string

func (d drop) Error() string { return string(d) }

// The reasons for silence.
const (
	dropMalformed drop = "malformed"    // no DHCPv6, or not as RFC 8415 has it
	dropTruncated drop = "truncated"    // larger than any packet that we read
	dropType      drop = "type"         // a message that servers do not answer
	dropHops      drop = "hops"         // relayed too often
	dropSource    drop = "source"       // a client without relay, from an address that is not link-local
	dropInvalid   drop = "invalid"      // an identifier is missing, or must not be there (RFC 8415 §16)
	dropUnicast   drop = "unicast"      // a message that must be multicast
	dropOther     drop = "other server" // it is for another server
	dropSubnet    drop = "subnet"       // from a network that is none of ours
	dropIgnored   drop = "ignored"      // the policy says so
	dropNoIA      drop = "no ia_na"     // it asks for no address
	dropElsewhere drop = "elsewhere"    // its address is none of ours
	dropLimited   drop = "limited"      // too many unknown machines a second
	dropCommit    drop = "commit"       // the lease could not be made durable
	dropTooLarge  drop = "too large"    // the reply would not fit
	dropSend      drop = "send"         // the reply could not be sent
)

// demand is what a message must have (RFC 8415 §16).
type demand struct {
	client bool // a client identifier
	server int8 // a server identifier: 1 must, 0 may, -1 must not be there
	noIA   bool // no address may be asked for
}

// demands are those of all messages that are answered.
var demands = map[dhcpv6.MessageType]demand{
	dhcpv6.MessageTypeSolicit:            {client: true, server: -1},
	dhcpv6.MessageTypeRequest:            {client: true, server: 1},
	dhcpv6.MessageTypeConfirm:            {client: true, server: -1},
	dhcpv6.MessageTypeRenew:              {client: true, server: 1},
	dhcpv6.MessageTypeRebind:             {client: true, server: -1},
	dhcpv6.MessageTypeRelease:            {client: true, server: 1},
	dhcpv6.MessageTypeDecline:            {client: true, server: 1},
	dhcpv6.MessageTypeInformationRequest: {noIA: true},
}

// The lengths of a DUID with its type (RFC 8415 §11.1).
const (
	minDUID = 3
	maxDUID = 130
)

// valid reads the client identifier and checks the message against RFC 8415 §16. The error is a drop.
func (r *Request) valid() error {
	need, ok := demands[r.Type]
	if !ok {
		return dropType
	}
	o := r.message.Options
	client := o.Get(dhcpv6.OptionClientID)
	if len(client) > 0 {
		r.DUID = client[0].ToBytes()
	}
	switch server := len(o.Get(dhcpv6.OptionServerID)); {
	case need.client && len(client) == 0, len(client) > 1,
		len(client) == 1 && (len(r.DUID) < minDUID || len(r.DUID) > maxDUID),
		need.server > 0 && server != 1, need.server < 0 && server != 0, server > 1,
		need.noIA && len(o.IANA())+len(o.IATA())+len(o.IAPD()) > 0:
		return dropInvalid
	}
	return nil
}
