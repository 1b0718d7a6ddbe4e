package dhcpd

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var other = ip("10.77.0.9") // the server that gives the addresses

// newProxy is a server beside another one.
func newProxy(t *testing.T) *fixture {
	f := newFixture(t)
	f.Proxy = true
	return f
}

// at hands a packet to the server as it comes in at a port, and gives its reply, nil for none.
func (f *fixture) at(pxe bool, from, to string, p *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	f.Helper()
	f.sent = nil
	f.pxe = pxe
	defer func() { f.pxe = false }()
	f.batch.run(context.Background(), f.Server, f, []datagram{{data: p.ToBytes(), from: netip.MustParseAddrPort(from), to: ip(to)}})
	if len(f.sent) == 0 {
		return nil
	}
	out, err := dhcpv4.FromBytes(f.sent[0].data)
	if err != nil || len(f.sent) > 1 {
		f.Fatalf("%d replies, %v", len(f.sent), err)
	}
	return out
}

// TestProxyOffer: firmware is told what to boot, and gets no address.
func TestProxyOffer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client dhcpv4.Modifier
		class  string
		file   string
		vendor bool
	}{
		{"BIOS", biosROM, "PXEClient", "undionly.kpxe", true},
		{"UEFI", uefiX64, "PXEClient", "snponly.efi", false},
		{"UEFI HTTP", uefiHTTP, "HTTPClient", "http://10.77.0.1:8080/boot/snponly.efi", false},
		{"iPXE", ipxe, "PXEClient", "http://10.77.0.1:8080/ipxe?mac=52:54:00:00:00:01", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newProxy(t)
			p := f.one(discover(mac(1), tt.client))
			if p.MessageType() != dhcpv4.MessageTypeOffer || !p.YourIPAddr.IsUnspecified() || addr(p.ServerIPAddr) != server || addr(p.ServerIdentifier()) != server {
				t.Errorf("got %s", p.Summary())
			}
			if p.ClassIdentifier() != tt.class || p.BootFileName != tt.file || p.Options.Has(dhcpv4.OptionVendorSpecificInformation) != tt.vendor {
				t.Errorf("class %q, file %q, option 43 %x", p.ClassIdentifier(), p.BootFileName, p.Options.Get(dhcpv4.OptionVendorSpecificInformation))
			}
			for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter,
				dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionEtherboot} {
				if p.Options.Has(code) {
					t.Errorf("it says %s", code)
				}
			}
			if o := f.sent[0]; o.to != netip.MustParseAddrPort("255.255.255.255:68") || !p.IsBroadcast() {
				t.Errorf("to %s, broadcast flag %v", o.to, p.IsBroadcast())
			}
			if f.Leases.Len() != 0 || f.offers.to(mac(1)).IsValid() {
				t.Error("it promised an address")
			}
			if e := f.last(); e.Kind != Offered || e.Addr.IsValid() || e.File != tt.file {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// TestProxySilence: whoever does not boot, and whatever is about addresses, is the other server's.
func TestProxySilence(t *testing.T) {
	a := ip("10.77.0.100")
	theirs := func(t dhcpv4.MessageType, m ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		return message(mac(1), t, append(m, chose(other))...)
	}
	f := newProxy(t)
	f.Policy = fixedHosts{mac(2): {NoBoot: true}, mac(3): {Ignore: true}}
	for _, tt := range []struct {
		name string
		in   *dhcpv4.DHCPv4
		why  drop
	}{
		{"an operating system's DISCOVER", discover(mac(1), dhclient), dropNotBooting},
		{"its REQUEST", theirs(dhcpv4.MessageTypeRequest, dhclient, askFor(a)), dropNotBooting},
		{"its renewal, to everybody", rebinding(mac(1), a), dropNotBooting},
		{"its INFORM", inform(mac(1), a, dhclient), dropNotBooting},
		{"RELEASE", release(mac(1), a), dropNotBooting},
		{"DECLINE of firmware", theirs(dhcpv4.MessageTypeDecline, biosROM, askFor(a)), dropAddress},
		{"firmware that wants its address back", initReboot(mac(1), a, biosROM), dropAddress},
		{"firmware that nothing is there for", discover(mac(1), uefiX64, arch(3)), dropNoFile},
		{"a machine that is not to boot", discover(mac(2), biosROM), dropNoFile},
		{"by policy", discover(mac(3), biosROM), dropIgnored},
		{"an address of another network", inform(mac(1), ip("192.0.2.1"), biosROM), dropNoAddress},
	} {
		if p := f.at(false, "0.0.0.0:68", "255.255.255.255", tt.in); p != nil || f.last().Kind != Silent || f.last().Reason != string(tt.why) {
			t.Errorf("%s: %+v, reply %v; want silence for %s", tt.name, f.last(), p, tt.why)
		}
	}
}

// TestProxyHears: the address that a machine takes is told from its REQUEST to the other server.
func TestProxyHears(t *testing.T) {
	f := newProxy(t)
	f.none(message(mac(1), dhcpv4.MessageTypeRequest, ipxe, askFor(ip("10.77.0.140")), chose(other)), "")
	if e := f.last(); e.Kind != Chosen || e.Addr != ip("10.77.0.140") || e.Request.ServerID != other || e.File == "" || e.Reason != "" {
		t.Errorf("event %+v", e)
	}
}

// TestBootServer: port 4011 in both modes.
func TestBootServer(t *testing.T) {
	a := ip("10.77.0.140")
	withItem := option(dhcpv4.OptionVendorSpecificInformation, 71, 4, 0x80, 0, 0, 0, 255)
	for _, proxy := range []bool{true, false} {
		f := newFixture(t)
		f.Proxy = proxy
		has := dhcpv4.WithClientIP(a.AsSlice())
		request := func(m ...dhcpv4.Modifier) *dhcpv4.DHCPv4 { return message(mac(1), dhcpv4.MessageTypeRequest, m...) }
		for _, tt := range []struct {
			name         string
			from, to     string
			in           *dhcpv4.DHCPv4
			reply, class string
			vendor       string
		}{
			{"UEFI, unicast", "10.77.0.140:68", "10.77.0.1", request(uefiX64, has), "10.77.0.140:68", "PXEClient", "\x06\x01\x08\xff"},
			{"UEFI, repeats the other server", "10.77.0.140:4011", "10.77.0.1", request(uefiX64, has, chose(other)), "10.77.0.140:4011", "PXEClient", "\x06\x01\x08\xff"},
			{"BIOS, broadcast, its menu's item", "10.77.0.140:68", "255.255.255.255", request(biosROM, has, withItem), "10.77.0.140:68", "PXEClient", "\x47\x04\x80\x00\x00\x00\x06\x01\x08\xff"},
			{"BIOS, INFORM", "10.77.0.140:2070", "10.77.0.1", inform(mac(1), a, biosROM), "10.77.0.140:2070", "PXEClient", "\x06\x01\x08\xff"},
			{"without ciaddr", "10.77.0.140:4011", "10.77.0.1", request(biosROM), "10.77.0.140:4011", "PXEClient", "\x06\x01\x08\xff"},
			{"without any address", "0.0.0.0:68", "255.255.255.255", request(biosROM), "255.255.255.255:68", "PXEClient", "\x06\x01\x08\xff"},
			{"iPXE", "10.77.0.140:68", "10.77.0.1", request(ipxe, has), "10.77.0.140:68", "PXEClient", ""},
		} {
			p := f.at(true, tt.from, tt.to, tt.in)
			if p == nil {
				t.Errorf("proxy %v, %s: no reply (%s)", proxy, tt.name, f.last().Reason)
				continue
			}
			if p.MessageType() != dhcpv4.MessageTypeAck || !p.YourIPAddr.IsUnspecified() || p.BootFileName == "" || addr(p.ServerIdentifier()) != server ||
				p.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || p.ClassIdentifier() != tt.class ||
				string(p.Options.Get(dhcpv4.OptionVendorSpecificInformation)) != tt.vendor {
				t.Errorf("proxy %v, %s: %s", proxy, tt.name, p.Summary())
			}
			if o := f.sent[0]; o.to != netip.MustParseAddrPort(tt.reply) || o.from != server {
				t.Errorf("proxy %v, %s: from %s to %s, want %s", proxy, tt.name, o.from, o.to, tt.reply)
			}
			if e := f.last(); e.Kind != Directed || e.File == "" {
				t.Errorf("proxy %v, %s: event %+v", proxy, tt.name, e)
			}
		}
		for _, tt := range []struct {
			name     string
			from, to string
			in       *dhcpv4.DHCPv4
			why      drop
		}{
			{"DISCOVER", "0.0.0.0:68", "255.255.255.255", discover(mac(1), biosROM), dropNotBooting},
			{"an operating system", "10.77.0.140:68", "10.77.0.1", request(dhclient, has), dropNotBooting},
			{"for everybody, and another server", "10.77.0.140:68", "255.255.255.255", request(biosROM, has, chose(other)), dropOther},
		} {
			if p := f.at(true, tt.from, tt.to, tt.in); p != nil || f.last().Reason != string(tt.why) {
				t.Errorf("proxy %v, %s: %v, %+v, want silence for %s", proxy, tt.name, p, f.last(), tt.why)
			}
		}
		if f.Leases.Len() != 0 {
			t.Errorf("proxy %v: the boot server's port gave a lease", proxy)
		}
	}
}

// TestBootServerSockets: port 4011 of a real interface answers whoever asks it, alone or with everybody, at the port that
// was asked from.
func TestBootServerSockets(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := newMachine(t, "srv1", "10.77.0.1/24")
	m.run("ip", "addr", "add", "10.77.0.140/24", "broadcast", "10.77.0.255", "dev", "eth0")
	serve(t, "srv1")
	buf := make([]byte, packetSize)
	for _, tt := range []struct{ from, to string }{
		{"10.77.0.140:4011", "10.77.0.1"}, {"10.77.0.140:2070", "10.77.0.1"}, {"0.0.0.0:68", "10.77.0.255"},
	} {
		c := m.listen(tt.from)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		request := message(mac(1), dhcpv4.MessageTypeRequest, uefiX64, dhcpv4.WithClientIP(ip("10.77.0.140").AsSlice()))
		if _, err := c.WriteTo(request.ToBytes(), &net.UDPAddr{IP: ip(tt.to).AsSlice(), Port: pxePort}); err != nil {
			t.Fatal(err)
		}
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatalf("from %s to %s: %v", tt.from, tt.to, err)
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil || p.MessageType() != dhcpv4.MessageTypeAck || p.BootFileName != "snponly.efi" || from.String() != "10.77.0.1:4011" {
			t.Errorf("from %s to %s: %v, %v from %s", tt.from, tt.to, p, err, from)
		}
		c.Close()
	}
}
