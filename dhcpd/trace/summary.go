package trace

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd"
)

// Options that the codec has no names for.
const (
	optIPXE     = dhcpv4.GenericOptionCode(175) // iPXE's own
	optOverload = dhcpv4.GenericOptionCode(52)
)

// Summary is a packet in a line: what it is, what it is about, and why it got no answer. What machines say of
// themselves is quoted or printed as it is: it may have control characters.
func Summary(p dhcpd.Packet) string {
	var words []string
	if v6(p) {
		words = summary6(p.Data)
	} else {
		words = summary4(p.Data)
	}
	if p.Drop != "" {
		words = append(words, "NOT ANSWERED: "+Explain(p.Drop))
	}
	return strings.Join(words, ", ")
}

func v6(p dhcpd.Packet) bool { a := p.To.Addr(); return a.Is6() && !a.Is4In6() }

func summary4(b []byte) []string {
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		return []string{fmt.Sprintf("%d bytes that are no DHCP packet (%v)", len(b), err)}
	}
	kind := m.MessageType().String()
	if m.MessageType() == dhcpv4.MessageTypeNone {
		kind = "BOOTP " + m.OpCode.String()
	}
	words := []string{kind}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if m.OpCode == dhcpv4.OpcodeBootRequest {
		request4(m, add)
	} else {
		reply4(m, add)
	}
	if a := m.GatewayIPAddr; !a.IsUnspecified() {
		add("by the relay %s", a)
	}
	add("xid %s", strings.TrimPrefix(m.TransactionID.String(), "0x"))
	return words
}

type adder func(format string, args ...any)

func request4(m *dhcpv4.DHCPv4, add adder) {
	if a := m.RequestedIPAddress(); a != nil {
		add("for %s", a)
	}
	if a := m.ClientIPAddr; !a.IsUnspecified() {
		add("has %s", a)
	}
	if a := m.ServerIdentifier(); a != nil {
		add("of server %s", a)
	}
	add("%s", Program(m))
	if name := m.HostName(); name != "" {
		add("calls itself %q", name)
	}
	if m.NumSeconds > 0 {
		add("tries for %ds", m.NumSeconds)
	}
}

// Program says which program of a machine sent a packet, as far as it tells.
func Program(m *dhcpv4.DHCPv4) string {
	class, name := m.ClassIdentifier(), "an operating system"
	switch {
	case m.Options.Has(optIPXE) || slices.Contains(m.UserClass(), "iPXE"):
		name = "iPXE"
	case strings.HasPrefix(class, "PXEClient"):
		name = "firmware (PXE)"
	case strings.HasPrefix(class, "HTTPClient"):
		name = "firmware (HTTP boot)"
	case class != "":
		return fmt.Sprintf("from %q", class)
	}
	for _, a := range m.ClientArch() {
		name += fmt.Sprintf(", arch %d (%s)", uint16(a), archName(a))
	}
	return "from " + name
}

func archName(a iana.Arch) string {
	if s := a.String(); !strings.Contains(strings.ToLower(s), "unknown") {
		return s
	}
	// What IANA has registered since, as far as there is something to boot for it.
	switch a {
	case 39:
		return "EFI LoongArch 64-bit"
	case 40:
		return "EFI LoongArch 64-bit boot from HTTP"
	case 41:
		return "Raspberry Pi"
	}
	return "unknown"
}

func reply4(m *dhcpv4.DHCPv4, add adder) {
	if a := m.YourIPAddr; !a.IsUnspecified() {
		add("%s", a)
	}
	if d := m.IPAddressLeaseTime(0); d > 0 {
		add("for %s", d)
	}
	if name := m.HostName(); name != "" {
		add("as %s", name)
	}
	if file := m.BootFileNameOption(); file != "" {
		add("loads %s", file)
	} else if m.BootFileName != "" && !m.Options.Has(optOverload) {
		add("loads %s", m.BootFileName)
	}
	if why := m.Message(); why != "" {
		add("because: %s", why)
	}
	if a := m.ServerIdentifier(); a != nil {
		add("from server %s", a)
	}
}

func summary6(b []byte) []string {
	d, err := dhcpv6.FromBytes(b)
	if err != nil {
		return []string{fmt.Sprintf("%d bytes that are no DHCPv6 packet (%v)", len(b), err)}
	}
	words := []string{d.Type().String()}
	m, err := d.GetInnerMessage()
	if err != nil {
		return append(words, "without a message in it")
	}
	if d.IsRelay() {
		words = append(words, "with "+m.Type().String())
	}
	for _, ia := range m.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			words = append(words, a.IPv6Addr.String()+" for "+a.ValidLifetime.String())
		}
		if s := ia.Options.Status(); s != nil {
			words = append(words, s.String())
		}
	}
	for _, a := range m.Options.ArchTypes() {
		words = append(words, fmt.Sprintf("arch %d (%s)", uint16(a), archName(a)))
	}
	if url := m.Options.BootFileURL(); url != "" {
		words = append(words, "loads "+url)
	}
	if s := m.Options.Status(); s != nil {
		words = append(words, s.String())
	}
	return append(words, "xid "+strings.TrimPrefix(m.TransactionID.String(), "0x"))
}

// Details are all that a packet says, a line for each; of one that is broken, its bytes.
func Details(p dhcpd.Packet) []string {
	var text string
	if v6(p) {
		if m, err := dhcpv6.FromBytes(p.Data); err == nil {
			text = m.Summary()
		}
	} else if m, err := dhcpv4.FromBytes(p.Data); err == nil {
		text = m.Summary()
	}
	if text == "" {
		text = hex.Dump(p.Data)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	ends := fmt.Sprintf("%s > %s, %d bytes on %s", net.UDPAddrFromAddrPort(p.From), net.UDPAddrFromAddrPort(p.To), len(p.Data), p.Interface)
	return append([]string{ends}, lines...)
}

// Explain says in words why a packet got no answer; a reason that is not known is its own explanation.
func Explain(drop string) string {
	for _, e := range reasons {
		if e.drop == drop {
			return drop + " (" + e.text + ")"
		}
	}
	return drop
}

// reasons are dhcpd's, for people.
var reasons = []struct{ drop, text string }{
	{"malformed", "this is no DHCP packet: bad firmware, or something else that sends to port 67"},
	{"truncated", "it is longer than any packet that a machine may send"},
	{"reply", "only servers send such a packet: another DHCP server is on this network"},
	{"bootp", "it speaks BOOTP, not DHCP, and has no fixed address: see dhcpd.subnets[].bootp, or make it one of hosts"},
	{"hardware", "the machine's address is not one of Ethernet"},
	{"no-subnet", "it comes from a network that is not in dhcpd.subnets; for a relay, that of its address counts"},
	{"ignored", "by policy: the server could not tell who the machine is, or must not answer it; see the server's log"},
	{"other-server", "the machine chose another DHCP server: there is one on this network"},
	{"exhausted", "no address is left in the range of the subnet"},
	{"probing", "the server looks which address is free (dhcpd.probe), and offers one when the machine asks again"},
	{"newcomer", "too many machines that nobody knows ask for addresses: see dhcpd.newcomers, or declare the machine"},
	{"commit", "the lease could not be written to disk"},
	{"not-holder", "it gives back or declines an address that it does not have"},
	{"no-address", "it does not say which address it is about"},
	{"too-large", "the answer does not fit into what the machine accepts (option 57)"},
	{"not-booting", "it does not boot from the network: with dhcpd.mode proxy, and on port 4011, nobody else is answered"},
	{"no-file", "there is nothing for it to boot: no file for its architecture, or it is one of dhcpd.subnets[].hosts"},
	{"address", "it is about an address, which is another DHCP server's to give: dhcpd.mode is proxy"},
	{"send", "the answer could not be sent; see the server's log"},
}

// Way is the direction of a packet as one word: "<" came in from the machine, ">" goes to it.
func Way(p dhcpd.Packet) string {
	if p.In {
		return "<"
	}
	return ">"
}

// Clock is a record's time of day in UTC, to the millisecond.
func Clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
