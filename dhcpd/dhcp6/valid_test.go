package dhcp6

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/prometheus/client_golang/prometheus"
)

// without takes options out of a message.
func without(m *dhcpv6.Message, codes ...dhcpv6.OptionCode) *dhcpv6.Message {
	for _, c := range codes {
		m.Options.Del(c)
	}
	return m
}

// with puts options into a message.
func with(m *dhcpv6.Message, opts ...dhcpv6.Option) *dhcpv6.Message {
	for _, o := range opts {
		m.AddOption(o)
	}
	return m
}

// TestDrops: what gets no answer, and how it is counted.
func TestDrops(t *testing.T) {
	c := machine(1)
	solicit := func() *dhcpv6.Message { return c.message(dhcpv6.MessageTypeSolicit) }
	deep := dhcpv6.DHCPv6(solicit())
	for range 9 {
		deep = relay(deep, "fd77::9", c.from().WithZone(""))
	}
	empty := relay(solicit(), "fd77::9", c.from().WithZone(""))
	empty.Options.Del(dhcpv6.OptionRelayMsg)
	global := c.packet(solicit())
	global.from = netip.MustParseAddrPort("[fd77::5]:546")
	large := c.packet(solicit())
	large.truncated = true
	otherServer := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: duidLL(mac(7))}
	longID := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: make([]byte, 131)}
	for name, x := range map[string]struct {
		in   datagram
		want drop
	}{
		"empty":                      {datagram{from: global.from, to: servers}, dropMalformed},
		"noise":                      {datagram{data: []byte("noise noise noise"), from: c.packet(solicit()).from, to: servers}, dropMalformed},
		"half":                       {datagram{data: c.packet(solicit()).data[:30], from: c.packet(solicit()).from, to: servers}, dropMalformed},
		"truncated":                  {large, dropTruncated},
		"advertise":                  {c.packet(c.message(dhcpv6.MessageTypeAdvertise)), dropType},
		"reply":                      {c.packet(c.message(dhcpv6.MessageTypeReply)), dropType},
		"unknown type":               {c.packet(c.message(99)), dropType},
		"relay-reply":                {c.packet(&dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayReply}), dropType},
		"relayed too often":          {c.packet(deep), dropHops},
		"relay without message":      {c.packet(empty), dropMalformed},
		"from afar without relay":    {global, dropSource},
		"solicit without client":     {c.packet(without(solicit(), dhcpv6.OptionClientID)), dropInvalid},
		"solicit with server":        {c.packet(with(solicit(), serverID)), dropInvalid},
		"two clients":                {c.packet(with(solicit(), solicit().GetOneOption(dhcpv6.OptionClientID))), dropInvalid},
		"client of 131 bytes":        {c.packet(with(without(solicit(), dhcpv6.OptionClientID), longID)), dropInvalid},
		"request without server":     {c.packet(without(c.message(dhcpv6.MessageTypeRequest), dhcpv6.OptionServerID)), dropInvalid},
		"request of another server":  {c.packet(with(without(c.message(dhcpv6.MessageTypeRequest), dhcpv6.OptionServerID), otherServer)), dropOther},
		"renew of another server":    {c.packet(with(without(c.message(dhcpv6.MessageTypeRenew), dhcpv6.OptionServerID), otherServer)), dropOther},
		"information-request for IA": {c.packet(with(c.message(dhcpv6.MessageTypeInformationRequest), c.ia())), dropInvalid},
		"solicit without IA":         {c.packet(without(solicit(), dhcpv6.OptionIANA)), dropNoIA},
		"request without IA":         {c.packet(without(c.message(dhcpv6.MessageTypeRequest), dhcpv6.OptionIANA)), dropNoIA},
	} {
		b := newBench(t, func(s *Server) { s.Metrics = prometheus.NewPedanticRegistry() })
		if out := b.run(x.in); len(out) != 0 {
			t.Errorf("%s was answered", name)
		}
		if got := drops(t, b.Server); len(got) != 1 || got[string(x.want)] != 1 {
			t.Errorf("%s was counted as %v, want %q", name, got, x.want)
		}
		if b.Leases.Len() != 0 {
			t.Errorf("%s made a lease", name)
		}
	}
}

// drops are the server's counters.
func drops(t *testing.T, s *Server) map[string]float64 {
	t.Helper()
	families, err := s.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "muster_dhcp6_drops_total" {
				out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}
