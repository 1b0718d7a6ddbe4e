package dhcpd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestOverloadReply: what does not fit goes into file and sname, where nothing else is there, and nothing is lost.
func TestOverloadReply(t *testing.T) {
	id := option(dhcpv4.OptionClientIdentifier, append([]byte{255}, bytes.Repeat([]byte{7}, 180)...)...)
	list := option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 12, 15, 28, 58, 59, 121)
	f := newFixture(t)
	f.Policy = fixedHosts{mac(1): {Address: ip("10.77.0.20"), Hostname: strings.Repeat("h", 50)}}
	f.Subnets[0].Domain = strings.Repeat("d", 60) + ".example"
	f.Subnets[0].Routes = []Route{route("10.90.0.0/16", "10.77.0.7")}
	for _, tt := range []struct {
		name       string
		mods       dhcpv4.Modifier
		overloaded bool
	}{
		{"small", mods(id, list), true},
		{"from a relay", mods(id, list, relayedBy(ip("10.77.0.9")), option82()), true},
		{"large", mods(id, list, size(1472)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.one(discover(mac(1), tt.mods))
			small := bytes.Clone(f.sent[0].data)
			f.one(discover(mac(1), tt.mods, size(1472)))
			var a, b msg
			if !a.read(small) || !b.read(f.sent[0].data) {
				t.Fatal("a reply that cannot be read")
			}
			if a.carries(dhcpv4.OptionOptionOverload) != tt.overloaded || b.carries(dhcpv4.OptionOptionOverload) {
				t.Errorf("overload in the small reply %v, in the large one %v", a.get(dhcpv4.OptionOptionOverload), b.get(dhcpv4.OptionOptionOverload))
			}
			if len(small) > minMessage-ipUDPHeader && tt.overloaded {
				t.Errorf("%d bytes", len(small))
			}
			one, other := unpack(t, small), unpack(t, f.sent[0].data)
			delete(one, dhcpv4.OptionOptionOverload.Code())
			if one.String() != other.String() {
				t.Errorf("overloaded:\n%s\nin one piece:\n%s", one, other)
			}
			if v := a.get(dhcpv4.OptionRelayAgentInformation); !bytes.HasSuffix(bytes.TrimRight(small, "\x00"), append(v, 255)) {
				t.Error("relay agent information is not the last of the options")
			}
		})
	}
}

// unpack gives the options of a reply wherever they are, by the codec.
func unpack(t *testing.T, b []byte) dhcpv4.Options {
	t.Helper()
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	v := p.Options.Get(dhcpv4.OptionOptionOverload)
	if len(v) != 1 {
		return p.Options
	}
	all := b[headerSize:]
	all = bytes.TrimSuffix(bytes.TrimRight(all, "\x00"), []byte{255})
	for _, field := range []struct {
		bit byte
		b   []byte
	}{{1, b[atFile:atCookie]}, {2, b[atSNAME:atFile]}} {
		if v[0]&field.bit != 0 {
			all = append(bytes.Clone(all), bytes.TrimSuffix(bytes.TrimRight(field.b, "\x00"), []byte{255})...)
		}
	}
	out := dhcpv4.Options{}
	if err := out.FromBytes(append(all, 255)); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOverloadKeepsTheFile: where the boot file is in its field, options are left out instead, the least important
// ones first.
func TestOverloadKeepsTheFile(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Domain = strings.Repeat("d", 200)
	id := option(dhcpv4.OptionClientIdentifier, append([]byte{255}, bytes.Repeat([]byte{7}, 100)...)...)
	p := f.one(discover(mac(1), uefiX64, id, size(576)))
	if p.Options.Has(dhcpv4.OptionOptionOverload) || p.BootFileName != "snponly.efi" || p.ServerHostName != "10.77.0.1" {
		t.Errorf("reply:\n%s", p.Summary())
	}
	if p.DomainName() != "" || p.Options.Has(dhcpv4.OptionTFTPServerName) || len(p.DNS()) != 2 || !p.Options.Has(dhcpv4.OptionBootfileName) {
		t.Errorf("left out:\n%s", p.Summary())
	}
}

// TestFrameSize: no answer is larger than a frame, whatever the client says it takes.
func TestFrameSize(t *testing.T) {
	f := newFixture(t)
	f.ScriptURL = func(*Request) string { return strings.Repeat("x", 1400) }
	f.none(discover(mac(1), ipxe, size(65535)), dropTooLarge)
	f.ScriptURL = func(*Request) string { return strings.Repeat("x", 900) }
	f.one(discover(mac(1), ipxe, size(65535)))
}
