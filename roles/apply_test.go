package roles_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/roles"
	"muster/roles/declare"
)

// lines puts changes into the form "update pool web: size {max: 2} → {max: 3}".
func lines(changes []roles.Change) (out []string) {
	for _, c := range changes {
		l := c.Action + " " + c.Kind + " " + c.Name
		for _, f := range c.Fields {
			if c.Action == "update" {
				l += ": " + f.Field + " " + f.Old + " → " + f.New
			}
		}
		out = append(out, l)
	}
	return out
}

// refuse applies what must be refused, and looks that nothing has changed.
func (r *rack) refuse(text string, o roles.ApplyOptions, want ...string) {
	r.t.Helper()
	before := r.Revision()
	_, err := r.Apply(r.t.Context(), r.parse(text), o)
	if err == nil || err.Error() != strings.Join(want, "\n") {
		r.t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
	if !errors.Is(err, fs.ErrInvalid) {
		r.t.Errorf("%v is no fs.ErrInvalid", err)
	}
	if r.Revision() != before {
		r.t.Error("the rack was changed all the same")
	}
}

func TestApplyTellsWhatChanges(t *testing.T) {
	r := newRack(t)
	all := rackYAML + "nodes:\n- {mac: 52:54:00:aa:00:01, labels: {rack: a1, bay: '7'}}\n"
	for i, want := range [][]string{
		{"unchanged role web", "unchanged role ntp", "unchanged pool web", "unchanged pool ntp", "create node 52:54:00:aa:00:01"},
		{"unchanged role web", "unchanged role ntp", "unchanged pool web", "unchanged pool ntp", "unchanged node 52:54:00:aa:00:01"},
	} {
		if d := cmp.Diff(want, lines(r.declare(all))); d != "" {
			t.Errorf("time %d: -want +got:\n%s", i+1, d)
		}
	}
	changed := strings.NewReplacer("port: 80", "port: 8080, path: /up", "{max: 2}", "{min: 1, max: 1}", ", priority: 10", "", "bay: '7'", "bay: '8'").Replace(all)
	want := []string{
		"update role web: health {http: {port: 80}} → {http: {port: 8080, path: /up}}",
		"unchanged role ntp",
		"update pool web: priority 10 → ",
		"update pool ntp: size {max: 2} → {min: 1, max: 1}",
		`update node 52:54:00:aa:00:01: labels {bay: "7", rack: a1} → {bay: "8", rack: a1}`,
	}
	if d := cmp.Diff(want, lines(r.declare(changed))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if r.node(mac(1).String()).Labels["bay"] != "8" {
		t.Error("the label was not changed")
	}
	if p, _ := r.Pool("ntp"); len(p.Slots) != 1 || p.Missing != 1 {
		t.Errorf("pool %+v", p)
	}
}

func TestApplyDryRun(t *testing.T) {
	r := newRack(t)
	before := r.Revision()
	text := "roles: [{name: dns}]\npools: [{name: dns, role: dns, addresses: 10.77.0.90-10.77.0.91}]\nnodes: [{mac: 52:54:00:aa:00:01, pool: dns}]\n"
	got, err := r.Apply(t.Context(), r.parse(text), roles.ApplyOptions{DryRun: true, Prune: true})
	want := []string{"create role dns", "delete pool ntp", "delete pool web", "delete role ntp", "delete role web", "create pool dns", "create node 52:54:00:aa:00:01"}
	if d := cmp.Diff(want, lines(got)); d != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, d)
	}
	if r.Revision() != before {
		t.Error("a dry run changed the rack")
	}
	if _, err := r.Node(mac(1).String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dry run left a node: %v", err)
	}
}

func TestApplyMovesARangeOverEmptySlots(t *testing.T) {
	r := newRack(t)
	ntp := func(addresses string) string {
		return "pools: [{name: ntp, role: ntp, size: {max: 3}, addresses: " + addresses + "}]"
	}
	r.declare(ntp("10.77.0.80-10.77.0.82"))
	if _, err := r.Assign(t.Context(), mac(1).String(), "ntp", "ntp-02"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Release(t.Context(), "ntp-02"); err != nil {
		t.Fatal(err)
	}
	r.declare(ntp("10.77.0.81-10.77.0.83")) // every address is another slot's before and after
	p, err := r.Pool("ntp")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range p.Slots {
		if want := netip.AddrFrom4([4]byte{10, 77, 0, byte(81 + i)}); s.Address != want || s.Used != (i == 1) {
			t.Errorf("slot %s has %s, used %v; want %s", s.Name, s.Address, s.Used, want)
		}
	}
	if _, err := r.Assign(t.Context(), mac(1).String(), "ntp", "ntp-02"); err != nil {
		t.Fatal(err)
	}
	r.refuse(ntp("10.77.0.80-10.77.0.82"), roles.ApplyOptions{},
		"pool ntp: addresses: would take 10.77.0.82 from ntp-02, which 52:54:00:aa:00:01 occupies: release it first")
	r.refuse("pools: [{name: ntp, role: ntp, size: {max: 1}, addresses: 10.77.0.81-10.77.0.83}]", roles.ApplyOptions{},
		"pool ntp: addresses: would take 10.77.0.82 from ntp-02, which 52:54:00:aa:00:01 occupies: release it first")
	r.declare("pools: [{name: ntp, role: ntp, size: {max: 2}, addresses: 10.77.0.81-10.77.0.83}]")
	if n := r.node("ntp-02"); n.Address != netip.MustParseAddr("10.77.0.82") {
		t.Errorf("%s has %s", n.Slot, n.Address)
	}
}

func TestApplyPrune(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	web := "roles: [{name: web}]\npools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}"
	r.refuse("roles: [{name: ntp}]", roles.ApplyOptions{Prune: true},
		"pool web: cannot be deleted: 52:54:00:aa:00:01 occupies web-01; release it first")
	r.refuse("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]", roles.ApplyOptions{Prune: true},
		`pool web: role: role "web" is neither declared nor in the library`)
	// What goes makes room: dns has the addresses of ntp.
	changes, err := r.Apply(t.Context(), r.parse(web+", {name: dns, role: web, addresses: 10.77.0.80}]"), roles.ApplyOptions{Prune: true})
	want := []string{"update role web: health {http: {port: 80}} → : image web → : state [/var/log/nginx] → ", "delete pool ntp", "delete role ntp",
		"update pool web: match {arch: [x86_64]} → : priority 10 → : size {min: 1, max: 50} → {max: 50}", "create pool dns"}
	if d := cmp.Diff(want, lines(changes)); d != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, d)
	}
	if _, err := r.Pool("ntp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pool ntp: %v", err)
	}
	r.wantNode(mac(1).String(), "web-01", roles.StateBooting)
}

func TestApplyLooksAtTheRack(t *testing.T) {
	r := newRack(t)
	r.Subnets = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("10.78.0.0/24")}
	r.refuse(`pools:
- {name: a, role: web, addresses: 10.79.0.1-10.79.0.9}
- {name: b, role: web, size: {max: 9}, addresses: 10.77.0.250-10.78.0.5}
- {name: c, role: web, addresses: 10.77.0.60-10.77.0.79}
- {name: d, role: www, addresses: 10.78.0.60}
`, roles.ApplyOptions{},
		"pool a: addresses: 10.79.0.1-10.79.0.9 is in none of the subnets that DHCP serves ([10.77.0.0/24 10.78.0.0/24])",
		"pool b: addresses: 10.77.0.250-10.78.0.5 is in none of the subnets that DHCP serves ([10.77.0.0/24 10.78.0.0/24])",
		"pool c: addresses: 10.77.0.60-10.77.0.79 overlaps with 10.77.0.20-10.77.0.69 of pool web",
		`pool d: role: role "www" is neither declared nor in the library`)
	// A pool that fits no longer must not keep others from being declared.
	r.Subnets = r.Subnets[1:]
	r.declare("pools: [{name: e, role: web, addresses: 10.78.0.10-10.78.0.19}]")
	r.Library = map[string]roles.Role{"dns": {Name: "dns", Image: "bind"}}
	r.declare("pools: [{name: dns, role: dns, addresses: 10.78.0.20}]")
	if role, err := r.EffectiveRole("dns"); err != nil || role.ImageName() != "bind" {
		t.Errorf("role %+v, %v", role, err)
	}
}

func TestApplyNodes(t *testing.T) {
	r := newRack(t)
	r.Power = map[string]roles.Driver{"lab": &switches{}}
	text := "nodes: [{mac: 52:54:00:aa:00:01, pool: ntp, slot: ntp-02, labels: {rack: a1}, power: {driver: lab, target: m1}}]\n"
	r.declare(text)
	n := r.wantNode("ntp-02", "ntp-02", roles.StateOff)
	if n.MAC != mac(1) || !n.Assigned || n.Labels["rack"] != "a1" || n.Power.Target != "m1" {
		t.Errorf("node %+v", n)
	}
	if evs, _ := r.Events(0, 0); len(evs) != 1 || evs[0].Step != roles.StepOperator || evs[0].Message != "assigned to ntp-02 by a declaration" {
		t.Errorf("events %+v", evs)
	}
	if _, o := r.powerOn(mac(1)); o.Slot == nil || o.Slot.Name != "ntp-02" {
		t.Fatalf("orders %+v", o)
	}
	r.check(1, nil)

	// Applied again it is what was declared, whatever operators did since; applied as it is, nothing moves.
	r.declare(text)
	r.wantNode("ntp-02", "ntp-02", roles.StateReady)
	if _, err := r.Assign(t.Context(), "ntp-02", "web", ""); err != nil {
		t.Fatal(err)
	}
	r.wantNode("ntp-02", "ntp-02", roles.StateDraining)
	if got := lines(r.declare(text)); got[0] != "update node 52:54:00:aa:00:01: pool web → ntp: slot  → ntp-02" {
		t.Errorf("changes %q", got)
	}
	r.wantNode("ntp-02", "ntp-02", roles.StateReady)
	if _, err := r.Release(t.Context(), "ntp-02"); err != nil {
		t.Fatal(err)
	}
	r.declare(text)
	r.wantNode("ntp-02", "ntp-02", roles.StateWaiting)

	// A declaration without a pool takes none away.
	r.declare("nodes: [{mac: 52:54:00:aa:00:01}]")
	if n := r.wantNode("ntp-02", "ntp-02", roles.StateWaiting); n.Labels != nil || n.Power != nil {
		t.Errorf("node %+v", n)
	}
	r.refuse(`nodes:
- {mac: 52:54:00:aa:00:02, pool: ntp, slot: ntp-02}
- {mac: 52:54:00:aa:00:03, pool: ntp, slot: ntp-03}
- {mac: 52:54:00:aa:00:04, pool: dns}
- {mac: 52:54:00:aa:00:05, pool: ntp}
- {mac: 52:54:00:aa:00:06, pool: ntp}
- {mac: 52:54:00:aa:00:07, power: {driver: ipmi}}
`, roles.ApplyOptions{},
		"node 52:54:00:aa:00:02: pool: slot ntp-02 is occupied by 52:54:00:aa:00:01; to give it to 52:54:00:aa:00:02: muster node replace ntp-02 52:54:00:aa:00:02",
		`node 52:54:00:aa:00:03: pool: pool ntp has no slot "ntp-03"`,
		`node 52:54:00:aa:00:04: pool: pool "dns" does not exist (there are: ntp, web)`,
		"node 52:54:00:aa:00:06: pool: pool ntp is full: release a node, or raise its size",
		`node 52:54:00:aa:00:07: power: driver "ipmi" is not configured`)
}

// TestExportIsWhatIsThere: applied to an empty rack, an export makes the same one; applied to its own, it
// changes nothing.
func TestExportIsWhatIsThere(t *testing.T) {
	r := newRack(t)
	r.Power = map[string]roles.Driver{"lab": &switches{}}
	r.declare(`roles: [{name: dns, volumes: [{name: zones, mount: /srv/zones, readonly: true}], health: {tcp: {port: 53}, interval: 10s}, build: {packages: [bind9]}}]
pools: [{name: dns, role: dns, size: {min: 1}, addresses: 10.77.0.90-10.77.0.92, match: {labels: {rack: a1}, subnet: [10.77.0.0/24]}, takeover: 5m}]
nodes: [{mac: 52:54:00:aa:00:07, labels: {rack: a1}, power: {driver: lab}}, {mac: 52:54:00:aa:00:08, pool: dns, slot: dns-03}]
`)
	r.powerOn(mac(1)) // by a rule: nothing that anybody declared
	if _, err := r.Assign(t.Context(), mac(2).String(), "ntp", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Replace(t.Context(), "web-01", mac(3).String()); err != nil {
		t.Fatal(err)
	}
	d, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	text, err := declare.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.declare(string(text)) {
		if c.Action != "unchanged" {
			t.Errorf("an export changes its own rack: %+v", c)
		}
	}
	other := newRack(t)
	other.Power = r.Power
	if _, err := other.Apply(t.Context(), d, roles.ApplyOptions{Prune: true}); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	again, err := other.Export()
	if diff := cmp.Diff(d, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" || err != nil {
		t.Errorf("%v: -export +export of the other:\n%s", err, diff)
	}
	for _, key := range []string{"ntp-01", "web-01", "dns-03"} {
		if a, b := r.node(key), other.node(key); a.MAC != b.MAC || a.Pool != b.Pool {
			t.Errorf("%s is %s here and %s there", key, a.MAC, b.MAC)
		}
	}
	if len(d.Nodes) != 4 {
		t.Errorf("%d nodes are exported, want 4: those that somebody declared, assigned or named\n%s", len(d.Nodes), text)
	}
}

// A machine that failed elsewhere has not failed in the place that it was given, and keeps it.
func TestAssignedFailedNodeKeepsItsNewSlot(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	r.check(3, errors.New("connection refused"))
	r.now = r.now.Add(time.Hour)
	if _, err := r.Assign(t.Context(), "web-01", "ntp", ""); err != nil {
		t.Fatal(err)
	}
	r.wantNode(mac(1).String(), "ntp-01", roles.StateWaiting)
	r.declare("pools: [{name: ntp, role: ntp, size: {max: 2}, addresses: 10.77.0.80-10.77.0.81, match: {arch: [x86_64]}}]")
	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name != "ntp-02" {
		t.Errorf("orders %+v, want ntp-02", o)
	}
}
