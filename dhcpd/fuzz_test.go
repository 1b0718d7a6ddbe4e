package dhcpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzRequest handles arbitrary bytes as a packet: it never panics, sends one reply at most, which the codec
// understands, belongs to the request, and is no larger than the client accepts.
func FuzzRequest(f *testing.F) {
	a := ip("10.77.0.100")
	for _, p := range []*dhcpv4.DHCPv4{
		discover(mac(1), biosROM), discover(mac(1), uefiX64), discover(mac(1), uefiHTTP), discover(mac(1), ipxe),
		selecting(mac(1), a, dhclient), initReboot(mac(1), a), renewing(mac(1), a), release(mac(1), a), decline(mac(1), a),
		inform(mac(1), a), discover(mac(2), relayedBy(ip("10.78.0.1")), option82()),
		bootp(mac(1)), bootp(mac(2), relayedBy(ip("10.78.0.1")), option82()), discover(mac(2), option(dhcpv4.OptionRapidCommit)),
		discover(mac(2), relayedBy(ip("192.0.2.1")), agent(5, 10, 78, 0, 0)), discover(mac(2), relayedBy(ip("10.78.0.1")), agent(11, 10, 78, 0, 1)),
		discover(mac(2), option(dhcpv4.OptionSubnetSelection, 10, 78, 0, 0)), discover(mac(2), option(dhcpv4.OptionParameterRequestList, 121, 249)),
		discover(mac(1), option(dhcpv4.OptionClientIdentifier, bytes.Repeat([]byte{7}, 200)...)),
	} {
		f.Add(p.ToBytes(), true)
		f.Add(p.ToBytes(), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, unicast bool) {
		agrees(t, data)
		x := newFixture(t)
		x.bind(mac(1))
		x.sent, x.SubnetSelection = nil, true
		n := &x.Subnets[0]
		n.RapidCommit, n.BOOTP, n.Routes = true, time.Hour, []Route{route("10.90.0.0/16", "10.77.0.7")}
		n.Domain = strings.Repeat("d", 60)
		to := limitedBroadcast
		if unicast {
			to = server
		}
		x.batch.run(context.Background(), x.Server, x, []datagram{{data: data, to: to}})
		if len(x.sent) == 0 {
			return
		}
		if len(x.sent) > 1 {
			t.Fatalf("%d replies to one packet", len(x.sent))
		}
		checkReply(t, data, x.sent[0])
	})
}

func checkReply(t *testing.T, data []byte, o outgoing) {
	reply, err := dhcpv4.FromBytes(o.data)
	if err != nil {
		t.Fatalf("the codec does not understand the reply: %v", err)
	}
	if !reply.Options.Has(dhcpv4.OptionOptionOverload) { // the codec does not know it
		if !bytes.Equal(encode(reply), o.data) {
			t.Error("the codec writes the reply otherwise")
		}
	} else if m := new(msg); !m.read(o.data) || len(m.get(dhcpv4.OptionServerIdentifier)) != 4 {
		t.Error("an overloaded reply that cannot be read")
	}
	if string(reply.TransactionID[:]) != string(data[4:8]) || string(reply.ClientHWAddr) != string(data[28:34]) {
		t.Error("the reply belongs to another request")
	}
	limit := minMessage
	var req Request
	switch why := req.parse(data, names{}); {
	case why != "":
		t.Fatalf("a reply to what is %s", why)
	case req.Type == dhcpv4.MessageTypeNone:
		limit = max(bootpSize, len(data)) + ipUDPHeader
	default:
		if v := req.get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
			limit = max(limit, int(binary.BigEndian.Uint16(v)))
		}
	}
	if reply.Options.Has(dhcpv4.OptionDHCPMessageType) != (req.Type != dhcpv4.MessageTypeNone) {
		t.Errorf("BOOTP and DHCP are mixed: %s", reply.Summary())
	}
	if v := req.get(dhcpv4.OptionRelayAgentInformation); len(v) > 0 && !bytes.HasSuffix(bytes.TrimRight(o.data, "\x00"), []byte{v[len(v)-1], 255}) {
		t.Error("relay agent information is not the last option")
	}
	if len(o.data)+ipUDPHeader > limit {
		t.Errorf("%d bytes of reply where the client accepts %d", len(o.data), limit)
	}
	if !o.to.Addr().IsValid() || !o.from.IsValid() {
		t.Errorf("reply from %v to %v", o.from, o.to)
	}
	if y := addr(reply.YourIPAddr); y.IsValid() && subnetOf([]*Subnet{&rackNet, &remoteNet}, y) == nil {
		t.Errorf("an address of no subnet: %s", y)
	}
}
