package dhcp6

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// FuzzServer gives any packet to the server: it gets one reply at most, which the codec can read, fits, and answers
// just that packet; and leases are made for those only who ask for them.
func FuzzServer(f *testing.F) {
	c := machine(1)
	c.opts = []dhcpv6.Option{arch(16), vendorClass("HTTPClient:Arch:00016"), ipxe}
	for kind := range demands {
		m := c.message(kind, rackNet.at(0x99999))
		f.Add(m.ToBytes())
		f.Add(relay(relay(m, "fd78::1", c.from().WithZone("")), "::", c.from().WithZone(""), dhcpv6.OptRelayPort(0)).ToBytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, nil)
		in := c.packet(&dhcpv6.Message{})
		in.data = data
		out := b.run(in)
		if len(out) == 0 {
			return
		}
		p, err := dhcpv6.FromBytes(out[0].data)
		if err != nil {
			t.Fatalf("the reply cannot be read: %v\n% x", err, out[0].data)
		}
		m, err := p.GetInnerMessage()
		if err != nil {
			t.Fatal(err)
		}
		asked, err := dhcpv6.FromBytes(data)
		if err != nil {
			t.Fatal("what cannot be read was answered")
		}
		inner, _ := asked.GetInnerMessage()
		if m.TransactionID != inner.TransactionID || m.MessageType != dhcpv6.MessageTypeReply && m.MessageType != dhcpv6.MessageTypeAdvertise {
			t.Errorf("%s was answered by %s", inner.Summary(), m.Summary())
		}
		if asked.IsRelay() != p.IsRelay() {
			t.Error("relayed one way only")
		}
		if n := b.Leases.Len(); n > 1 || n == 1 && m.MessageType != dhcpv6.MessageTypeReply {
			t.Errorf("%d leases by %s", n, inner.MessageType)
		}
	})
}
