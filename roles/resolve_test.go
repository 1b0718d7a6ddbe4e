package roles

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// pool makes a pool with n slots whose rule takes x86_64 machines.
func pool(name string, n, atLeast, priority int) PoolView {
	first := netip.MustParseAddr("10.77.0.20")
	p := PoolView{Pool: Pool{Name: name, Role: name, Size: Size{Min: atLeast, Max: n}, Priority: priority,
		Addresses: AddressRange{first, netip.MustParseAddr("10.77.0.39")}, Match: &Match{Arch: []string{"x86_64"}}}}
	for i := range n {
		p.Slots = append(p.Slots, SlotView{Slot: Slot{Name: p.SlotName(i + 1), Pool: name, Number: i + 1, Address: p.Addresses.At(i)}})
	}
	return p
}

// held puts an occupant into slot i.
func (p PoolView) held(i int, state State, since time.Time) PoolView {
	n := Node{MAC: MAC{0x52, 0x54, 0, 0xee, 0, byte(i)}, Pool: p.Name, Slot: p.Slots[i].Name, State: state, Since: since, Why: "it is dead"}
	p.Slots[i].Node, p.Slots[i].Used, p.Slots[i].Occupant = n.MAC, true, &n
	return p
}

func (p PoolView) left(i int) PoolView {
	p.Slots[i].Used = true
	return p
}

func x86() Node {
	return Node{MAC: MAC{0x52, 0x54, 0, 0xaa, 0, 1}, Facts: Facts{Arch: "x86_64", Firmware: "bios"}}
}

func TestResolve(t *testing.T) {
	long, short := noon.Add(-time.Minute), noon.Add(-time.Second)
	assigned := func(pool, slot string) Node {
		n := x86()
		n.Pool, n.Assigned, n.WantSlot = pool, true, slot
		return n
	}
	inventory := func(n Node, mib int) Node {
		n.Facts.Inventory = &Inventory{Memory: mib}
		return n
	}
	big := pool("big", 1, 0, 99)
	big.Match = &Match{MemoryMin: 4096}
	arm := pool("arm", 1, 0, 99)
	arm.Match = &Match{Arch: []string{"arm64"}}
	silent := pool("silent", 1, 1, 99)
	silent.Match = nil

	for _, c := range []struct {
		name  string
		node  Node
		pools []PoolView
		slot  string
		takes bool
		why   string // contained in Why
	}{
		{"no pool", x86(), nil, "", false, "no pool is declared"},
		{"first slot", x86(), []PoolView{pool("web", 3, 0, 0)}, "web-01", false, "joined pool web by its rule"},
		{"below minimum goes before priority", x86(), []PoolView{pool("web", 3, 0, 10), pool("ntp", 3, 1, 0)}, "ntp-01", false, ""},
		{"priority decides", x86(), []PoolView{pool("ntp", 3, 0, 0), pool("web", 3, 0, 10)}, "web-01", false, ""},
		{"then the name", x86(), []PoolView{pool("web", 3, 0, 0), pool("ntp", 3, 0, 0)}, "ntp-01", false, ""},
		{"a failed node leaves the pool below", x86(), []PoolView{pool("web", 3, 1, 0).held(0, StateFailed, long), pool("ntp", 3, 0, 9)}, "web-01", true, "in place of"},
		{"next free slot", x86(), []PoolView{pool("web", 3, 0, 0).held(0, StateReady, long)}, "web-02", false, ""},
		{"an identity before a new slot", x86(), []PoolView{pool("web", 3, 0, 0).left(1)}, "web-02", false, "another machine left"},
		{"failed only just", x86(), []PoolView{pool("web", 3, 0, 0).held(0, StateFailed, short)}, "web-02", false, ""},
		{"off is not failed", x86(), []PoolView{pool("web", 3, 0, 0).held(0, StateOff, long)}, "web-02", false, ""},
		{"full, on to the next pool", x86(), []PoolView{pool("web", 1, 0, 9).held(0, StateReady, long), pool("ntp", 1, 0, 0)}, "ntp-01", false, ""},
		{"all full", x86(), []PoolView{pool("web", 1, 0, 9).held(0, StateReady, long), pool("ntp", 1, 0, 0).held(0, StateReady, long), arm}, "", false, "its pool is full (web, ntp)"},
		{"no rule matches", x86(), []PoolView{arm, silent}, "", false, "no pool's rule takes"},
		{"inventory decides later", x86(), []PoolView{big, pool("web", 1, 0, 0)}, "", false, "when the machine has told its inventory"},
		{"inventory says yes", inventory(x86(), 8192), []PoolView{big, pool("web", 1, 0, 0)}, "big-01", false, ""},
		{"inventory says no", inventory(x86(), 512), []PoolView{big, pool("web", 1, 0, 0)}, "web-01", false, ""},
		{"assigned against all rules", assigned("arm", ""), []PoolView{arm, pool("web", 1, 1, 99)}, "arm-01", false, "by an operator"},
		{"assigned to a slot", assigned("web", "web-02"), []PoolView{pool("web", 3, 0, 0)}, "web-02", false, ""},
		{"assigned to a taken slot", assigned("web", "web-01"), []PoolView{pool("web", 3, 0, 0).held(0, StateFailed, long)}, "", false, "occupies"},
		{"assigned to a full pool", assigned("web", ""), []PoolView{pool("web", 1, 0, 0).held(0, StateReady, long)}, "", false, "is full"},
		{"assigned to nothing", assigned("dns", ""), []PoolView{pool("web", 1, 0, 0)}, "", false, "does not exist"},
		{"replaced", Node{Replaced: &Replacement{Slot: "web-01", At: noon}}, []PoolView{pool("web", 3, 3, 0)}, "", false, "took over web-01"},
		{"released", Node{Released: true, Facts: x86().Facts}, []PoolView{pool("web", 3, 3, 0)}, "", false, "released by an operator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Resolve(c.node, c.pools, noon)
			if got.Slot != c.slot || got.Takes.IsZero() == c.takes || !strings.Contains(got.Why, c.why) {
				t.Errorf("got %+v, want slot %q, takes %v, why …%s…", got, c.slot, c.takes, c.why)
			}
			if again := Resolve(c.node, c.pools, noon); !cmp.Equal(got, again) {
				t.Errorf("not deterministic: %s", cmp.Diff(got, again))
			}
		})
	}
}

func TestResolveKeepsTheSlot(t *testing.T) {
	n := x86()
	n.Pool, n.Slot, n.Joined = "web", "web-02", "joined pool web by its rule"
	web := pool("web", 3, 0, 0)
	web.Slots[1].Node, web.Slots[1].Occupant = n.MAC, &n
	got := Resolve(n, []PoolView{pool("ntp", 1, 1, 99), web}, noon)
	want := Placement{Pool: "web", Slot: "web-02", Why: n.Joined}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a machine that has its place must stay (-want +got):\n%s", diff)
	}
}

func TestMatchExplains(t *testing.T) {
	m := &Match{Arch: []string{"x86_64"}, MAC: []string{"52:54:00:AA:*"}, Subnet: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")},
		Labels: map[string]string{"rack": "a1"}, Product: []string{"Power*"}}
	n := x86()
	n.Facts.Address = netip.MustParseAddr("10.77.0.100")
	n.Labels = map[string]string{"rack": "a1"}
	v, texts := m.evaluate(n)
	want := []string{"arch x86_64 matches x86_64", "mac 52:54:00:aa:00:01 matches 52:54:00:AA:*", "product is not known yet",
		"10.77.0.100 is in subnet 10.77.0.0/24", "label rack is a1"}
	if diff := cmp.Diff(want, texts); v != undecided || diff != "" {
		t.Errorf("verdict %v, texts (-want +got):\n%s", v, diff)
	}
	n.Facts.Product = "ProLiant"
	if v, _ := m.evaluate(n); v != no {
		t.Errorf("verdict %v for the wrong product, want no", v)
	}
}
