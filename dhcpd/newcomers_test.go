package dhcpd

import (
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestStarvation: 20,000 made-up MACs in a burst, with known machines in the middle of it, all in one instant.
func TestStarvation(t *testing.T) {
	f := newFixture(t)
	slot := Host{Address: ip("10.77.0.20"), Hostname: "web-01"}
	f.Policy = fixedHosts{mac(1): slot}
	waiting := f.bind(mac(2))
	f.events = nil
	const flood, batches = 20_000, 200
	answered := map[string]int{}
	for b := range batches {
		var in []*dhcpv4.DHCPv4
		for i := range flood / batches {
			in = append(in, discover(mac(100_000+b*flood/batches+i)))
		}
		switch b {
		case batches / 2:
			in = append(in, discover(mac(1), uefiX64), renewing(mac(2), waiting))
		case batches/2 + 1:
			in = append(in, selecting(mac(1), slot.Address, uefiX64))
		}
		for _, p := range f.exchange(in...) {
			answered[p.ClientHWAddr.String()+" "+p.MessageType().String()]++
			a := addr(p.YourIPAddr)
			if m := p.ClientHWAddr.String(); a == slot.Address && m != mac(1).String() {
				t.Fatalf("the slot's address was offered to %s", m)
			}
		}
	}
	for _, want := range []string{mac(1).String() + " OFFER", mac(1).String() + " ACK", mac(2).String() + " ACK"} {
		if answered[want] != 1 {
			t.Errorf("%d times %s, want once", answered[want], want)
		}
	}
	strangers := map[string]bool{}
	for _, e := range f.events {
		if e.Request.MAC != mac(1) && e.Request.MAC != mac(2) {
			strangers[e.Request.MAC.String()] = true
		}
	}
	if len(strangers) != newBurst-1 { // machine 2 was new once
		t.Errorf("somebody was told of %d unknown machines, want %d", len(strangers), newBurst-1)
	}
}

func TestNewcomers(t *testing.T) {
	f := newFixture(t)
	f.Newcomers = Newcomers{Rate: 2, Burst: 3, Total: 6}
	next := 0
	flood := func(mods ...dhcpv4.Modifier) int {
		var in []*dhcpv4.DHCPv4
		for range 20 {
			next++
			in = append(in, discover(mac(next), mods...))
		}
		return len(f.exchange(in...))
	}
	gi := relayedBy(ip("10.77.0.9"))
	for _, tt := range []struct {
		name string
		wait time.Duration
		mods dhcpv4.Modifier
		want int
	}{
		{"burst", 0, mods(), 3},
		{"at once again", 0, mods(), 0},
		{"a second later", time.Second, mods(), 2},
		{"the last of the total", time.Minute, mods(), 1},
		{"after it", time.Minute, mods(), 0},
		{"behind a circuit", 0, mods(gi, option82()), 3},
		{"a circuit that a machine makes up", 0, option82(), 0},
		{"in the time of another lease", time.Hour, mods(), 3},
	} {
		f.clock = f.clock.Add(tt.wait)
		if n := flood(tt.mods); n != tt.want {
			t.Errorf("%s: %d were let in, want %d", tt.name, n, tt.want)
		}
	}
	// Who was let in stays in; a lease that it remembers does not let a stranger in.
	in := mac(next - 19)
	a := f.offered(in)
	f.acked(selecting(in, a), a)
	f.exchange(initReboot(mac(next+1000), ip("10.77.0.180")))
	if _, ok := f.Leases.ByMAC(mac(next + 1000)); ok {
		t.Error("an INIT-REBOOT of a stranger passed the limit")
	}
}

// TestDetectorsTakeNothing: who looks for servers is let in, and so costs nobody an address: anybody can say that he does.
func TestDetectorsTakeNothing(t *testing.T) {
	f := newFixture(t)
	for i := range 3 * rackNet.Range.size() {
		f.one(discover(mac(1000+i), option(dhcpv4.OptionUserClassInformation, []byte(DetectorClass)...)))
	}
	for i := range rackNet.Range.size() {
		f.one(discover(mac(i)))
	}
}
