package dhcp6

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

// TestBootFile: what each firmware is told, and in which words.
func TestBootFile(t *testing.T) {
	for name, x := range map[string]struct {
		opts  []dhcpv6.Option
		url   string
		class string // of the answer
	}{
		"PXE, x64":           {[]dhcpv6.Option{arch(7), vendorClass("PXEClient:Arch:00007:UNDI:003016")}, "tftp://[fd77::1]/snponly.efi", ""},
		"PXE without class":  {[]dhcpv6.Option{arch(7)}, "tftp://[fd77::1]/snponly.efi", ""},
		"HTTP, x64":          {[]dhcpv6.Option{arch(16), vendorClass("HTTPClient:Arch:00016:UNDI:003000")}, "http://[fd77::1]/nbp/snponly.efi", "HTTPClient"},
		"HTTP without class": {[]dhcpv6.Option{arch(16)}, "http://[fd77::1]/nbp/snponly.efi", ""},
		"iPXE":               {[]dhcpv6.Option{arch(7), vendorClass("PXEClient:Arch:00007"), ipxe}, "http://[fd77::1]/ipxe", ""},
		"unknown":            {[]dhcpv6.Option{arch(99), vendorClass("PXEClient:Arch:00099")}, "", ""},
		"operating system":   {[]dhcpv6.Option{vendorClass("dhcpcd-9.4.1")}, "", ""},
	} {
		b := newBench(t, nil)
		c := machine(1)
		c.opts = x.opts
		for _, r := range []*dhcpv6.Message{
			b.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise),
			b.must(c, c.message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply),
		} {
			if got := r.Options.BootFileURL(); got != x.url {
				t.Errorf("%s: %s says boot %q, want %q", name, r.MessageType, got, x.url)
			}
			class := ""
			if all := r.Options.VendorClass(pxeEnterprise); len(all) > 0 {
				class = string(all[0])
			}
			if class != x.class {
				t.Errorf("%s: %s has the class %q, want %q", name, r.MessageType, class, x.class)
			}
			boots := x.url != "" || name == "unknown"
			if first := r.Options.Preference() == 255; first != (boots && r.MessageType == dhcpv6.MessageTypeAdvertise) {
				t.Errorf("%s: %s has the preference %d", name, r.MessageType, r.Options.Preference())
			}
			if last := r.Options.Options[len(r.Options.Options)-1]; last.Code() == dhcpv6.OptionBootfileURL {
				t.Errorf("%s: the URL is last, and old firmware does not find its end", name)
			}
		}
	}
}

// special is a Policy with a file of its own.
type special struct{}

func (special) Host(context.Context, *Request) Host {
	return Host{BootFile: "special.efi", Params: []string{"1468", "x"}}
}

func TestOwnBootFile(t *testing.T) {
	b := newBench(t, func(s *Server) { s.Policy = special{} })
	c := machine(1)
	c.opts = []dhcpv6.Option{arch(7), vendorClass("PXEClient:Arch:00007")}
	r := b.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise)
	if got := r.Options.BootFileURL(); got != "tftp://[fd77::1]/special.efi" {
		t.Errorf("boots %q", got)
	}
	if d := cmp.Diff([]string{"1468", "x"}, r.Options.BootFileParam()); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
	m := c.message(dhcpv6.MessageTypeSolicit)
	m.UpdateOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer))
	if r = b.must(c, m, dhcpv6.MessageTypeAdvertise); r.Options.BootFileURL() != "" || r.Options.BootFileParam() != nil {
		t.Errorf("told, though it did not ask: %s", r.Summary())
	}
}

// TestRelayed: the answer goes back through every relay as it came, with an address of the client's link.
func TestRelayed(t *testing.T) {
	b := newBench(t, nil)
	c := machine(1)
	c.opts = []dhcpv6.Option{arch(7)}
	inner := relay(c.message(dhcpv6.MessageTypeSolicit), "fd78::1", c.from().WithZone(""), dhcpv6.OptInterfaceID([]byte("eth7")))
	outer := relay(inner, "::", netip.MustParseAddr("fd78::1"), dhcpv6.OptInterfaceID([]byte("up")))
	from := netip.MustParseAddrPort("[fd79::9]:5470")
	out := b.run(datagram{data: outer.ToBytes(), from: from, to: ours})
	if len(out) != 1 || out[0].to != netip.AddrPortFrom(from.Addr(), 547) || out[0].from != ours {
		t.Fatalf("sent %v", out)
	}
	p, err := dhcpv6.FromBytes(out[0].data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		sent *dhcpv6.RelayMessage
		id   string
	}{{outer, "up"}, {inner, "eth7"}} {
		r, ok := p.(*dhcpv6.RelayMessage)
		if !ok || r.MessageType != dhcpv6.MessageTypeRelayReply || r.HopCount != want.sent.HopCount || !r.LinkAddr.Equal(want.sent.LinkAddr) ||
			!r.PeerAddr.Equal(want.sent.PeerAddr) || string(r.Options.InterfaceID()) != want.id {
			t.Fatalf("got %s, want what answers %s", p.Summary(), want.sent.Summary())
		}
		p = r.Options.RelayMessage()
	}
	m := p.(*dhcpv6.Message)
	if a := addrOf(t, m); !remoteNet.inRange(a) || m.Options.BootFileURL() != "tftp://[fd77::1]/snponly.efi" {
		t.Errorf("got %s", m.Summary())
	}

	// RFC 8357: a relay that says so gets the answer at the port that it sent from.
	inner.AddOption(dhcpv6.OptRelayPort(0))
	out = b.run(datagram{data: inner.ToBytes(), from: from, to: ours})
	if len(out) != 1 || out[0].to != from {
		t.Fatalf("sent %v, want it at %s", out, from)
	}
	// From a link that is not configured.
	unknown := relay(c.message(dhcpv6.MessageTypeSolicit), "fd99::1", c.from().WithZone(""))
	if out = b.run(datagram{data: unknown.ToBytes(), from: from, to: ours}); len(out) != 0 || b.reason() != string(dropSubnet) {
		t.Errorf("sent %v, reason %q", out, b.reason())
	}
}
