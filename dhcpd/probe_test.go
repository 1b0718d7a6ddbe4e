package dhcpd

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// neighbours is a link in memory: who answers for which address.
type neighbours struct {
	users  map[netip.Addr]lease.MAC
	all    lease.MAC // answers for every address, if it is set
	asked  map[netip.Addr]int
	say    chan arpPacket
	closed chan struct{}
	broken atomic.Bool // every ask fails
}

func (n *neighbours) ask(a netip.Addr) error {
	if n.broken.Load() {
		return errDiskFull
	}
	n.asked[a]++
	m, ok := n.users[a]
	if n.all != (lease.MAC{}) {
		m, ok = n.all, true
	}
	if ok {
		n.say <- arpPacket{mac: m, from: a}
	}
	return nil
}

func (n *neighbours) hear() (arpPacket, error) {
	select {
	case p := <-n.say:
		return p, nil
	case <-n.closed:
		return arpPacket{}, net.ErrClosed
	}
}

func (n *neighbours) close() error { close(n.closed); return nil }

// probing runs test with a server that probes a link, once it has its first stock.
func probing(t *testing.T, link *neighbours, test func(t *testing.T, f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.Now = nil
		var mu sync.Mutex // the prober observes as well
		observe := f.Observe
		f.Observe = func(e Event) { mu.Lock(); observe(e); mu.Unlock() }
		f.Server.Newcomers = Newcomers{Rate: -1, Total: -1}
		open := func(string) (arpWire, error) {
			link.asked, link.say, link.closed = map[netip.Addr]int{}, make(chan arpPacket, 1000), make(chan struct{})
			return link, nil
		}
		p := newProber(f.Server, "eth1")
		f.links["eth1"], f.probers["eth1"] = f.link(), p
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx, open); close(done) }() // ends with ctx
		synctest.Wait()
		if out := f.exchange(discover(mac(999))); len(out) != 0 {
			t.Errorf("an address was offered before any was probed:\n%s", out[0].Summary())
		}
		settle()
		test(t, f)
		cancel()
		<-done
	})
}

// settle waits until the round of probes that may be under way is over, and the one that is asked for now.
func settle() {
	time.Sleep(2*probeTimes*probeWait + time.Millisecond)
	synctest.Wait()
}

func TestProbeFirst(t *testing.T) {
	used, other := ip("10.77.0.100"), mac(0xabcdef)
	link := &neighbours{users: map[netip.Addr]lease.MAC{used: other}}
	probing(t, link, func(t *testing.T, f *fixture) {
		a := f.bind(mac(1))
		if a == used || link.asked[a] != probeTimes {
			t.Errorf("got %s, which was probed %d times", a, link.asked[a])
		}
		l, ok := f.Leases.ByAddr(used)
		if !ok || !l.Declined || !l.Expires.Equal(f.events[indexOf(t, f, Conflict)].Time.Add(quarantineTime)) {
			t.Errorf("the used address has %+v (%v)", l, ok)
		}
		if e := f.events[indexOf(t, f, Conflict)]; e.Addr != used || e.Other != other || e.MAC != (lease.MAC{}) || e.Interface != "eth1" {
			t.Errorf("event %+v", e)
		}
		// It comes back without a question: ROM, iPXE and operating system wait for nothing.
		before := len(link.asked)
		f.none(release(mac(1), a), "")
		time.Sleep(time.Second)
		if b := f.bind(mac(1)); b != a || len(link.asked) != before {
			t.Errorf("back again: %s, want %s without a probe", b, a)
		}
	})
}

func indexOf(t *testing.T, f *fixture, k Kind) int {
	t.Helper()
	for i, e := range f.events {
		if e.Kind == k {
			return i
		}
	}
	t.Fatalf("no %s among the events", k)
	return 0
}

// TestProbeStorm: more machines than there are addresses in stock get theirs when they ask again, and no two the same.
func TestProbeStorm(t *testing.T) {
	probing(t, &neighbours{}, func(t *testing.T, f *fixture) {
		f.Policy = fixedHosts{mac(500): {Address: ip("10.77.0.20")}}
		got := map[netip.Addr]string{}
		storm := func(from, to int) (n int) {
			var in []*dhcpv4.DHCPv4
			for i := from; i < to; i++ {
				in = append(in, discover(mac(i)))
			}
			for _, p := range f.exchange(in...) {
				a, m := addr(p.YourIPAddr), p.ClientHWAddr.String()
				if who, ok := got[a]; ok && who != m {
					t.Errorf("%s was offered to %s and %s", a, who, m)
				}
				got[a] = m
				n++
			}
			return n
		}
		if n := storm(0, 90); n != probeStock+1 { // and the one that waited for the first
			t.Errorf("%d of 90 were answered at once, want %d", n, probeStock+1)
		}
		if a := f.bind(mac(500)); a != ip("10.77.0.20") {
			t.Errorf("a slot's address waited for a probe: %s", a)
		}
		settle()
		if n := storm(0, 90); n != 90 {
			t.Errorf("%d of 90 were answered when they asked again", n)
		}
		settle()
		if n := storm(90, 110); n != 10 {
			t.Errorf("%d more were answered, want the rest of the range", n)
		}
		settle()
		f.none(discover(mac(111)), dropFull)
	})
}

// TestProbeCountsNewcomersOnce: who has to ask again is not new then.
func TestProbeCountsNewcomersOnce(t *testing.T) {
	probing(t, &neighbours{}, func(t *testing.T, f *fixture) {
		f.Server.Newcomers = Newcomers{Rate: -1, Total: 40}
		var in []*dhcpv4.DHCPv4
		for i := range 40 {
			in = append(in, discover(mac(i)))
		}
		f.exchange(in...)
		settle()
		if n := len(f.exchange(in...)); n != 40 {
			t.Errorf("%d of 40 were answered", n)
		}
	})
}

// TestProbeIsNotBelieved: a router with proxy ARP answers for everything, and takes no range away.
func TestProbeIsNotBelieved(t *testing.T) {
	probing(t, &neighbours{all: mac(0xabcdef)}, func(t *testing.T, f *fixture) {
		if a := f.bind(mac(1)); !rackNet.Range.Contains(a) {
			t.Errorf("got %s", a)
		}
		if n := f.Leases.Active(rackNet.Range.First, rackNet.Range.Last, time.Now()) - 1; n > rackNet.Range.size()/4 {
			t.Errorf("%d addresses are in quarantine", n)
		}
		for i := range 100 {
			f.exchange(discover(mac(100 + i)))
		}
		f.none(discover(mac(300)), dropFull)
	})
}

// TestProbeFails: without ARP, addresses are offered unseen, and probed again when it is back.
func TestProbeFails(t *testing.T) {
	link := &neighbours{}
	probing(t, link, func(t *testing.T, f *fixture) {
		link.broken.Store(true)
		time.Sleep(freshTime + time.Second) // the stock is old
		synctest.Wait()
		if a := f.bind(mac(1)); !rackNet.Range.Contains(a) {
			t.Errorf("got %s", a)
		}
		link.broken.Store(false)
		time.Sleep(reopenTime)
		settle()
		if a := f.bind(mac(2)); link.asked[a] == 0 {
			t.Errorf("%s was not probed", a)
		}
	})
}

// TestProbeStops: also while a probe waits to be sent.
func TestProbeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.Now = nil
		f.links["eth1"] = f.link()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with ctx
			newProber(f.Server, "eth1").run(ctx, func(string) (arpWire, error) { return make(stalled), nil })
			close(done)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// stalled is a link that takes no packet, until it is closed.
type stalled chan struct{}

func (s stalled) ask(netip.Addr) error     { <-s; return net.ErrClosed }
func (s stalled) hear() (arpPacket, error) { <-s; return arpPacket{}, net.ErrClosed }
func (s stalled) close() error             { close(s); return nil }

// TestProbeElsewhere: behind a relay nobody hears ARP, and who looks for servers waits for nothing.
func TestProbeElsewhere(t *testing.T) {
	link := &neighbours{}
	probing(t, link, func(t *testing.T, f *fixture) {
		if a := f.bind(mac(1), relayedBy(ip("10.78.0.1"))); link.asked[a] != 0 {
			t.Errorf("%s, behind a relay, was probed", a)
		}
		a := f.bind(mac(2), relayedBy(ip("10.77.0.9")))
		if b := f.bind(mac(3)); a == b {
			t.Errorf("%s was given twice", a)
		}
	})
}

// TestConflict: a machine uses the address that is lent to another one.
func TestConflict(t *testing.T) {
	link := &neighbours{}
	probing(t, link, func(t *testing.T, f *fixture) {
		a := f.bind(mac(1))
		next := f.probers["eth1"].stocks[&f.Subnets[0]].fresh[0].addr
		f.events = nil
		for range 3 {
			link.say <- arpPacket{mac: mac(2), from: a}
		}
		link.say <- arpPacket{mac: mac(1), from: a}
		link.say <- arpPacket{mac: mac(3), to: a}             // about to, and will see
		link.say <- arpPacket{mac: mac(4), from: next, to: a} // took one of the stock meanwhile
		link.say <- arpPacket{mac: mac(5), from: server}
		synctest.Wait()
		if len(f.events) != 1 || f.events[0].Kind != Conflict || f.events[0].MAC != mac(1) || f.events[0].Other != mac(2) {
			t.Errorf("events %+v, want one conflict of machines 1 and 2", f.events)
		}
		if b := f.offered(mac(6)); b == next {
			t.Errorf("%s was offered though somebody uses it since", b)
		}
	})
}

func TestReadARP(t *testing.T) {
	good := arpProbe(ip("10.77.0.9"), mac(1))
	p, ok := readARP(append(good, make([]byte, 18)...)) // padded to the least frame
	if want := (arpPacket{mac: mac(1), to: ip("10.77.0.9")}); !ok || p != want || p.uses() != want.to {
		t.Errorf("%+v, %v", p, ok)
	}
	for name, b := range map[string][]byte{"empty": nil, "short": good[:27], "other hardware": append([]byte{0, 6}, good[2:]...),
		"other operation": append(append([]byte{}, good[:7]...), append([]byte{9}, good[8:]...)...)} {
		if p, ok := readARP(b); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func FuzzARP(f *testing.F) {
	f.Add(arpProbe(ip("10.77.0.9"), mac(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := readARP(b); ok && (p.from.IsValid() && !p.from.Is4() || p.to.IsValid() && !p.to.Is4()) {
			t.Errorf("%+v", p)
		}
	})
}
