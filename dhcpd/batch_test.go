package dhcpd

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/prometheus/client_golang/prometheus"

	"muster/dhcpd/lease"
)

// TestStorm: 300 new machines at once, each in the middle of a batch of others.
func TestStorm(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Range = Range{ip("10.77.0.2"), ip("10.77.0.254")}
	f.Subnets[0].Prefix = netip.MustParsePrefix("10.77.0.0/23")
	f.Subnets[0].Range.Last = ip("10.77.1.200")
	commits := 0
	f.Commit = func(_ context.Context, puts []lease.Lease, deletes []lease.MAC) error {
		commits++
		f.Leases.Apply(puts, deletes)
		return nil
	}
	const machines, batchSize = 300, 50
	seen := map[netip.Addr]lease.MAC{}
	for from := 0; from < machines; from += batchSize {
		var discovers, requests []*dhcpv4.DHCPv4
		for i := range batchSize {
			discovers = append(discovers, discover(mac(from+i)))
		}
		for _, o := range f.exchange(discovers...) {
			requests = append(requests, selecting(lease.MAC(o.ClientHWAddr), addr(o.YourIPAddr)))
		}
		for _, p := range f.exchange(requests...) {
			a := addr(p.YourIPAddr)
			if p.MessageType() != dhcpv4.MessageTypeAck {
				t.Fatalf("%s for %s", p.MessageType(), p.ClientHWAddr)
			}
			if other, ok := seen[a]; ok {
				t.Fatalf("%s was given to %s and %s", a, other, p.ClientHWAddr)
			}
			seen[a] = lease.MAC(p.ClientHWAddr)
		}
	}
	if len(seen) != machines || f.Leases.Len() != machines {
		t.Errorf("%d addresses and %d leases, want %d", len(seen), f.Leases.Len(), machines)
	}
	if commits != machines/batchSize {
		t.Errorf("%d commits, want one for each of %d batches", commits, machines/batchSize)
	}
}

// TestBatchSeesItself: packets of one batch that depend on each other.
func TestBatchSeesItself(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Range.Last = ip("10.77.0.101")
	a, b := f.bind(mac(1)), f.bind(mac(2))
	f.clock = f.clock.Add(2 * time.Hour)
	// Two new machines want the same expired address, the former holder wants it back, then one of them
	// gives it back and asks again.
	out := f.exchange(initReboot(mac(3), a), initReboot(mac(4), a), initReboot(mac(1), a), release(mac(3), a), discover(mac(5)))
	var got []string
	for _, p := range out {
		got = append(got, p.MessageType().String()+" "+p.YourIPAddr.String())
	}
	// What needs no commit is sent first.
	want := "NAK 0.0.0.0, NAK 0.0.0.0, OFFER " + b.String() + ", ACK " + a.String()
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("replies %s\nwant %s", s, want)
	}
	if l, _ := f.Leases.ByAddr(a); l.MAC != mac(3) || l.Active(f.clock) {
		t.Errorf("lease %+v, want the released one of machine 3", l)
	}
	if _, ok := f.Leases.ByMAC(mac(1)); ok {
		t.Error("machine 1 still has a lease of an address that went on")
	}
}

func TestCommitCarriesDeletes(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Range.Last = f.Subnets[0].Range.First
	a := f.bind(mac(1))
	f.clock = f.clock.Add(2 * time.Hour)
	var puts []lease.Lease
	var deletes []lease.MAC
	f.Commit = func(_ context.Context, p []lease.Lease, d []lease.MAC) error {
		puts, deletes = p, d
		f.Leases.Apply(p, d)
		return nil
	}
	f.bind(mac(2))
	if len(puts) != 1 || puts[0].Addr != a || len(deletes) != 1 || deletes[0] != mac(1) {
		t.Errorf("commit of %v without %v, want the new lease and the displaced holder", puts, deletes)
	}
}

func TestNoACKWithoutCommit(t *testing.T) {
	f := newFixture(t)
	var log bytes.Buffer
	f.Log = slog.New(slog.NewTextHandler(&log, nil))
	broken := true
	f.Commit = func(_ context.Context, puts []lease.Lease, deletes []lease.MAC) error {
		if broken {
			return errDiskFull
		}
		f.Leases.Apply(puts, deletes)
		return nil
	}
	a := f.offered(mac(1))
	f.none(selecting(mac(1), a), dropCommit)
	f.none(selecting(mac(1), a), dropCommit)
	if n := strings.Count(log.String(), errDiskFull.Error()); n != 1 {
		t.Errorf("%d log lines about the disk, want 1:\n%s", n, &log)
	}
	if b := f.offered(mac(2), askFor(a)); b == a {
		t.Error("the address was offered to another machine while its commit is being repeated")
	}
	// A NAK and an offer need no disk.
	f.refused(initReboot(mac(3), ip("192.168.1.1")), nakSubnet)
	broken = false
	f.acked(selecting(mac(1), a), a)
}

func TestSendFails(t *testing.T) {
	f := newFixture(t)
	f.broken = errDiskFull
	f.exchange(discover(mac(1)))
	if e := f.last(); e.Kind != Silent || e.Reason != string(dropSend) {
		t.Errorf("event %+v, want silence because it could not be sent", e)
	}
}

func TestGarbage(t *testing.T) {
	f := newFixture(t)
	reg := prometheus.NewRegistry()
	f.Server.Metrics = reg
	f.Server.once = sync.Once{}
	f.init()
	good := func(mods ...dhcpv4.Modifier) []byte { return discover(mac(1), mods...).ToBytes() }
	noEnd := bytes.TrimRight(good(), "\x00")
	noEnd = noEnd[:len(noEnd)-1]
	for _, tt := range []struct {
		name string
		data []byte
		why  drop
	}{
		{"empty", nil, dropMalformed},
		{"short", good()[:100], dropMalformed},
		{"no cookie", bytes.Replace(good(), []byte{99, 130, 83, 99}, []byte{1, 2, 3, 4}, 1), dropMalformed},
		{"option without its value", append(good()[:240], 50, 200, 1), dropMalformed},
		{"a reply", good(func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply }), dropReply},
		{"an offer", message(mac(1), dhcpv4.MessageTypeOffer).ToBytes(), dropReply},
		{"InfiniBand", good(func(p *dhcpv4.DHCPv4) { p.HWType = 32 }), dropHardware},
		{"long address", good(dhcpv4.WithHwAddr(make([]byte, 8))), dropHardware},
		{"no address", good(dhcpv4.WithHwAddr(make([]byte, 6))), dropHardware},
		{"broadcast address", good(dhcpv4.WithHwAddr([]byte{255, 255, 255, 255, 255, 255})), dropHardware},
		{"BOOTP", good(dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType)), dropBOOTP},
		{"two types", good(option(dhcpv4.OptionDHCPMessageType, 1, 1)), dropMalformed},
		{"a type of nothing", good(option(dhcpv4.OptionDHCPMessageType, 0)), dropMalformed},
		{"REQUEST of nothing", message(mac(1), dhcpv4.MessageTypeRequest).ToBytes(), dropNoAddress},
		{"no End option", noEnd, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := count(t, reg, string(tt.why))
			f.sent = nil
			f.batch.run(context.Background(), f.Server, f, []datagram{{data: tt.data, to: limitedBroadcast}})
			if tt.why == "" {
				if len(f.sent) != 1 {
					t.Errorf("%d replies, want 1", len(f.sent))
				}
				return
			}
			if len(f.sent) != 0 {
				t.Error("garbage was answered")
			}
			if n := count(t, reg, string(tt.why)) - before; n != 1 {
				t.Errorf("counted %v times as %s, want once", n, tt.why)
			}
		})
	}
	f.batch.run(context.Background(), f.Server, f, []datagram{{data: good(), truncated: true}})
	if n := count(t, reg, string(dropTruncated)); n != 1 {
		t.Errorf("truncated: counted %v times", n)
	}
}

// count reads muster_dhcpd_drops_total for a reason.
func count(t *testing.T, reg *prometheus.Registry, reason string) float64 {
	t.Helper()
	return metric(t, reg, "muster_dhcpd_drops_total", reason)
}

// metric reads a counter or gauge with one label.
func metric(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// BenchmarkExchange is a whole DISCOVER, OFFER, REQUEST, ACK of a new machine, without sockets and disk.
func BenchmarkExchange(b *testing.B) {
	f := newFixture(nil)
	f.Observe, f.Server.Newcomers = nil, Newcomers{Rate: -1, Total: -1}
	f.Subnets[0].Prefix = netip.MustParsePrefix("10.0.0.0/8")
	f.Subnets[0].Range = Range{ip("10.128.0.1"), ip("10.255.255.254")}
	pxe := []dhcpv4.Modifier{option(dhcpv4.OptionClassIdentifier, []byte("PXEClient:Arch:00007:UNDI:003016")...),
		option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 15, 43, 54, 60, 66, 67)}
	d, r := discover(mac(0), pxe...).ToBytes(), selecting(mac(0), rackNet.Router, pxe...).ToBytes()
	at := bytes.Index(r, []byte{50, 4, 10, 77}) + 2
	one := []datagram{{to: limitedBroadcast}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d[31], d[32], d[33] = byte(i>>16), byte(i>>8), byte(i)
		r[31], r[32], r[33] = d[31], d[32], d[33]
		f.sent, one[0].data = f.sent[:0], d
		f.batch.run(b.Context(), f.Server, f, one)
		copy(r[at:], f.sent[0].data[16:20]) // yiaddr
		one[0].data = r
		f.batch.run(b.Context(), f.Server, f, one)
		if len(f.sent) != 2 {
			b.Fatalf("%d replies in exchange %d, want 2", len(f.sent), i)
		}
	}
}
