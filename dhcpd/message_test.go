package dhcpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// codec reads b as the codec does, with an End where a ROM left it out.
func codec(b []byte) (*dhcpv4.DHCPv4, error) {
	p, err := dhcpv4.FromBytes(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		p, err = dhcpv4.FromBytes(append(b[:len(b):len(b)], byte(dhcpv4.OptionEnd.Code())))
	}
	return p, err
}

// agrees holds what is read in place against the codec.
func agrees(t *testing.T, data []byte) {
	t.Helper()
	var m msg
	ok := m.read(data)
	p, err := codec(data)
	if len(data) >= headerSize && string(data[atCookie:headerSize]) == noMagic {
		return // the codec takes no BOOTP without a vendor area
	}
	if len(data) < headerSize {
		if ok {
			t.Errorf("%d bytes were read as a packet", len(data))
		}
		return
	}
	if err == nil && p.Options.Has(dhcpv4.OptionOptionOverload) {
		return // the codec does not know it
	}
	if ok != (err == nil) {
		t.Fatalf("read %t, codec %v", ok, err)
	}
	if !ok {
		return
	}
	for _, c := range readable {
		if got, want := m.get(c), p.Options.Get(c); !bytes.Equal(got, want) || m.carries(c) != p.Options.Has(c) {
			t.Errorf("option %d: %v (%t), codec %v (%t)", c.Code(), got, m.carries(c), want, p.Options.Has(c))
		}
	}
	for c := range 255 {
		list := p.Options.Get(dhcpv4.OptionParameterRequestList)
		if want := len(list) == 0 || bytes.IndexByte(list, byte(c)) >= 0; m.wants(dhcpv4.GenericOptionCode(c)) != want {
			t.Errorf("wants option %d: %t, codec %t", c, !want, want)
		}
	}
}

// TestOverload: options in file and sname, and one in two pieces across them (RFC 2131 §4.1, RFC 3396).
func TestOverload(t *testing.T) {
	b := discover(mac(1), option(dhcpv4.OptionOptionOverload, 3), option(dhcpv4.OptionHostName, []byte("we")...)).ToBytes()
	copy(b[atFile:], []byte{12, 2, 'b', '-', 255})
	copy(b[atSNAME:], []byte{12, 2, '0', '1', 50, 4, 10, 77, 0, 150, 255})
	var r Request
	if why := r.parse(b, names{}); why != "" {
		t.Fatal(why)
	}
	if r.Hostname != "web-01" || r.Requested != ip("10.77.0.150") {
		t.Errorf("host name %q, requested %s", r.Hostname, r.Requested)
	}
	b[atSNAME+1] = 200
	if why := r.parse(b, names{}); why != dropMalformed {
		t.Errorf("an option that goes beyond sname: %q", why)
	}
}

// TestLongOption: RFC 3396 §5, an option in pieces with others between them.
func TestLongOption(t *testing.T) {
	b := discover(mac(1)).ToBytes()[:headerSize]
	b = append(b, 82, 4, 1, 6, 'r', 'a', 53, 1, 1, 82, 4, 'c', 'k', '-', '7', 255)
	agrees(t, b)
	var r Request
	if why := r.parse(b, names{}); why != "" || r.Circuit != "rack-7" {
		t.Errorf("circuit %q (%s)", r.Circuit, why)
	}
}

// TestAllocations holds the budget of a whole exchange of a machine that renews or boots again: DISCOVER, OFFER,
// REQUEST and ACK without sockets and disk. Two are the host name, which its lease keeps.
func TestAllocations(t *testing.T) {
	f := newFixture(t)
	f.Observe, f.Now = nil, nil
	d, r := discover(mac(1), dhclient).ToBytes(), selecting(mac(1), ip("10.77.0.100"), dhclient).ToBytes()
	sink := &silentPort{fixture: f}
	in := []datagram{{data: d, to: limitedBroadcast}}
	exchange := func() {
		in[0].data = d
		f.batch.run(context.Background(), f.Server, sink, in)
		in[0].data = r
		f.batch.run(context.Background(), f.Server, sink, in)
	}
	exchange()
	const budget = 4
	if n := testing.AllocsPerRun(200, exchange); n > budget {
		t.Errorf("%.0f allocations in an exchange, the budget is %d", n, budget)
	} else {
		t.Logf("%.1f allocations in an exchange", n)
	}
	if sink.n == 0 {
		t.Error("nothing was answered")
	}
}

// silentPort sends nowhere.
type silentPort struct {
	*fixture
	n    int
	errs [batchSize]error
	l    link
}

func (p *silentPort) send(out []outgoing) []error {
	p.n += len(out)
	return p.errs[:len(out)]
}
func (p *silentPort) link() link {
	if p.l.name == "" {
		p.l = p.fixture.link()
	}
	return p.l
}
