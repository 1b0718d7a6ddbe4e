package dhcp6

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

var (
	rackNet   = Subnet{Prefix: netip.MustParsePrefix("fd77::/64"), DNS: []netip.Addr{netip.MustParseAddr("fd77::53")}, Domain: "rack.example"}
	remoteNet = Subnet{Prefix: netip.MustParsePrefix("fd78::/64"), Range: Range{netip.MustParseAddr("fd78::1000"), netip.MustParseAddr("fd78::1fff")}}
	ours      = netip.MustParseAddr("fd77::1")
	servers   = netip.MustParseAddr("ff02::1:2")
	serverMAC = lease.MAC{2, 0, 0, 0, 0, 1}
	start     = time.Unix(1_700_000_000, 0)
)

// wire is a port in memory.
type wire struct {
	in   chan []datagram
	out  chan outgoing
	stop chan struct{}
	fail error // of send
}

func newWire() *wire {
	return &wire{in: make(chan []datagram), out: make(chan outgoing, 1000), stop: make(chan struct{})}
}

func (w *wire) link() link {
	return link{name: "mem0", index: 1, mac: serverMAC, addrs: []netip.Prefix{netip.PrefixFrom(ours, 64)}}
}

func (w *wire) read() ([]datagram, error) {
	select {
	case d := <-w.in:
		return d, nil
	case <-w.stop:
		return nil, os.ErrDeadlineExceeded
	}
}

func (w *wire) send(out []outgoing) []error {
	errs := make([]error, len(out))
	for i, o := range out {
		if errs[i] = w.fail; w.fail == nil {
			w.out <- o
		}
	}
	return errs
}

func (w *wire) interrupt()   { close(w.stop) }
func (w *wire) close() error { return nil }

// bench is a server whose batches a test runs by itself.
type bench struct {
	*testing.T
	*Server
	wire   *wire
	batch  batch
	clock  time.Time
	events []Event
}

func newBench(t *testing.T, change func(*Server)) *bench {
	b := &bench{T: t, wire: newWire(), clock: start}
	b.Server = &Server{Subnets: []Subnet{rackNet, remoteNet}, Now: func() time.Time { return b.clock },
		BootFiles: []BootFile{{Arch: 7, File: "snponly.efi"}, {Arch: 16, HTTP: true, File: "snponly.efi"}},
		FileURL: func(r *Request, file string, http bool) string {
			if http {
				return fmt.Sprintf("http://[%s]/nbp/%s", r.Server, file)
			}
			return fmt.Sprintf("tftp://[%s]/%s", r.Server, file)
		},
		ScriptURL: func(r *Request) string { return fmt.Sprintf("http://[%s]/ipxe", r.Server) },
		Observe:   func(e Event) { b.events = append(b.events, e) }}
	if change != nil {
		change(b.Server)
	}
	if err := CheckSubnets(b.Subnets); err != nil {
		t.Fatal(err)
	}
	b.init(serverMAC)
	return b
}

// run gives what is sent when the packets come at once.
func (b *bench) run(in ...datagram) []outgoing {
	b.Helper()
	b.batch.run(b.Context(), b.Server, b.wire, in)
	if len(b.wire.out) > len(in) {
		b.Errorf("%d packets were answered with %d", len(in), len(b.wire.out))
	}
	var out []outgoing
	for len(b.wire.out) > 0 {
		o := <-b.wire.out
		if len(o.data) > maxMessage {
			b.Errorf("a reply of %d bytes", len(o.data))
		}
		out = append(out, o)
	}
	return out
}

// ask gives the reply to one message; nil for silence.
func (b *bench) ask(c client, m *dhcpv6.Message) *dhcpv6.Message {
	b.Helper()
	out := b.run(c.packet(m))
	if len(out) == 0 {
		return nil
	}
	if want := netip.AddrPortFrom(c.from(), 546); out[0].to != want {
		b.Errorf("sent to %s, want %s", out[0].to, want)
	}
	r, err := dhcpv6.MessageFromBytes(out[0].data)
	if err != nil {
		b.Fatal(err)
	}
	if r.TransactionID != m.TransactionID {
		b.Errorf("transaction %s, want %s", r.TransactionID, m.TransactionID)
	}
	return r
}

// must is ask for who must get an answer of a kind.
func (b *bench) must(c client, m *dhcpv6.Message, kind dhcpv6.MessageType) *dhcpv6.Message {
	b.Helper()
	r := b.ask(c, m)
	if r == nil || r.MessageType != kind {
		b.Fatalf("%s got %v, want %s (%s)", m.MessageType, r, kind, b.reason())
	}
	return r
}

// silent checks that a message gets no answer for a reason.
func (b *bench) silent(c client, m *dhcpv6.Message, why drop) {
	b.Helper()
	if r := b.ask(c, m); r != nil {
		b.Errorf("%s got %s, want silence", m.MessageType, r.Summary())
	} else if got := b.reason(); got != string(why) {
		b.Errorf("%s got silence because of %q, want %q", m.MessageType, got, why)
	}
}

func (b *bench) reason() string {
	if len(b.events) == 0 {
		return ""
	}
	return b.events[len(b.events)-1].Reason
}

// lease gives a client an address by all four messages.
func (b *bench) lease(c client) netip.Addr {
	b.Helper()
	adv := b.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise)
	offered := addrOf(b.T, adv)
	rep := b.must(c, c.message(dhcpv6.MessageTypeRequest, offered), dhcpv6.MessageTypeReply)
	if got := addrOf(b.T, rep); got != offered || !rackNet.inRange(got) {
		b.Errorf("offered %s, leased %s", offered, got)
	}
	return offered
}

// client is one program of a machine: who it says it is.
type client struct {
	mac  lease.MAC // of its link-local address; zero for a random one
	duid []byte
	iaid byte
	opts []dhcpv6.Option
}

// mac is the address of the i-th machine.
func mac(i int) lease.MAC { return lease.MAC{0x52, 0x54, 0, byte(i >> 16), byte(i >> 8), byte(i)} }

func duidLL(m lease.MAC) []byte  { return append([]byte{0, 3, 0, 1}, m[:]...) }
func duidLLT(m lease.MAC) []byte { return append([]byte{0, 1, 0, 1, 1, 2, 3, 4}, m[:]...) }
func duidUUID(i int) []byte {
	return append([]byte{0, 4}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, byte(i>>8), byte(i))
}

// machine is a client with everything as it should be.
func machine(i int) client { return client{mac: mac(i), duid: duidUUID(i), iaid: byte(i)} }

func (c client) from() netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 8: 1, 15: c.iaid}
	if c.mac != (lease.MAC{}) {
		m := c.mac
		copy(a[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	}
	return netip.AddrFrom16(a).WithZone("mem0")
}

func (c client) packet(m dhcpv6.DHCPv6) datagram {
	return datagram{data: m.ToBytes(), from: netip.AddrPortFrom(c.from(), 546), to: servers}
}

// serverID is the DUID of the bench's server.
var serverID = &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: duidLL(serverMAC)}

// message makes a message as RFC 8415 has it, with addrs in its IA_NA.
func (c client) message(kind dhcpv6.MessageType, addrs ...netip.Addr) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, c.iaid}}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: c.duid})
	if demands[kind].server > 0 {
		m.AddOption(serverID)
	}
	if kind != dhcpv6.MessageTypeInformationRequest {
		m.AddOption(c.ia(addrs...))
	}
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionBootfileURL, dhcpv6.OptionBootfileParam, dhcpv6.OptionDNSRecursiveNameServer,
		dhcpv6.OptionDomainSearchList, dhcpv6.OptionInformationRefreshTime))
	for _, o := range c.opts {
		m.AddOption(o)
	}
	return m
}

func (c client) ia(addrs ...netip.Addr) *dhcpv6.OptIANA {
	ia := &dhcpv6.OptIANA{IaId: [4]byte{3: c.iaid}}
	for _, a := range addrs {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: time.Hour, ValidLifetime: time.Hour})
	}
	return ia
}

func vendorClass(s string) dhcpv6.Option {
	return &dhcpv6.OptVendorClass{EnterpriseNumber: pxeEnterprise, Data: [][]byte{[]byte(s)}}
}

func arch(a uint16) dhcpv6.Option { return dhcpv6.OptClientArchType(iana.Arch(a)) }

var ipxe = &dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte("iPXE")}}

// addrOf gives the address that a reply gives; zero for none.
func addrOf(t *testing.T, m *dhcpv6.Message) netip.Addr {
	t.Helper()
	for _, ia := range m.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			if a.ValidLifetime > 0 {
				return address(a.IPv6Addr)
			}
		}
	}
	return netip.Addr{}
}

// withdrawn gives the addresses that a reply takes back.
func withdrawn(m *dhcpv6.Message) (out []netip.Addr) {
	for _, a := range m.Options.OneIANA().Options.Addresses() {
		if a.ValidLifetime == 0 {
			out = append(out, address(a.IPv6Addr))
		}
	}
	return out
}

func statusOf(m *dhcpv6.Message) iana.StatusCode {
	if ia := m.Options.OneIANA(); ia != nil {
		if s := ia.Options.Status(); s != nil {
			return s.StatusCode
		}
	}
	if s := m.Options.Status(); s != nil {
		return s.StatusCode
	}
	return iana.StatusSuccess
}

// relay wraps a message as a relay does whose link has an address.
func relay(inner dhcpv6.DHCPv6, link string, peer netip.Addr, opts ...dhcpv6.Option) *dhcpv6.RelayMessage {
	r := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, LinkAddr: net.ParseIP(link), PeerAddr: peer.AsSlice()}
	if deeper, ok := inner.(*dhcpv6.RelayMessage); ok {
		r.HopCount = deeper.HopCount + 1
	}
	for _, o := range opts {
		r.AddOption(o)
	}
	r.AddOption(dhcpv6.OptRelayMessage(inner))
	return r
}

// known is a Policy that knows some MACs.
type known []lease.MAC

func (k known) Host(_ context.Context, r *Request) Host {
	return Host{Known: slices.Contains(k, r.MAC)}
}

// keyOf is what identify says of a client without relay.
func keyOf(c client) lease6.Key {
	k, _ := identify(c.duid, [4]byte{3: c.iaid}, eui64(c.from().WithZone("")))
	return k
}

func hw(m lease.MAC) net.HardwareAddr { return m[:] }
