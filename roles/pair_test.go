package roles_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/roles"
)

const pairYAML = `
roles:
- {name: storage, root: ram, health: {http: {port: 9780}}}
- {name: web, health: {http: {}}}
pools:
- {name: storage, role: storage, size: {min: 2, max: 2}, addresses: 10.77.0.10-10.77.0.11, priority: 9,
   pair: {address: 10.77.0.9, disk: {serial: "DATA-*"}}, match: {mac: ["52:54:00:aa:00:*"]}}
- {name: web, role: web, storage: storage, addresses: 10.77.0.20-10.77.0.29, match: {mac: ["52:54:00:aa:01:*"]}}
`

// pairRack is a rack with a storage pair, whose machines the test plays: mac(1) and mac(2) are its halves.
type pairRack struct {
	*rack
	power *outletsOf
	boots int
	keys  map[roles.MAC]int
	rec   *roles.Reconciler
}

// outletsOf is a driver of machines that remember whether they are on.
type outletsOf struct {
	mu     sync.Mutex
	on     map[string]bool
	err    error // of every call
	offErr error // of Off
	stuck  bool  // Off does nothing
	deaf   bool  // On does nothing
	offs   []string
	ons    []string
	during func() // what happens while a machine is being switched off
}

func (o *outletsOf) On(_ context.Context, target string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.deaf {
		o.on[target] = true
		o.ons = append(o.ons, target)
	}
	return o.err
}

func (o *outletsOf) Off(_ context.Context, target string) error {
	if o.during != nil {
		o.during()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	err := errors.Join(o.err, o.offErr)
	if err == nil {
		o.offs = append(o.offs, target)
		o.on[target] = o.stuck
	}
	return err
}

func (o *outletsOf) Status(_ context.Context, target string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.on[target], o.err
}

func newPairRack(t *testing.T) *pairRack {
	p := &pairRack{rack: newRack(t), power: &outletsOf{on: map[string]bool{}}, keys: map[roles.MAC]int{}}
	p.Power, p.DefaultPower = map[string]roles.Driver{"test": p.power}, "test"
	if _, err := p.Apply(t.Context(), p.parse(pairYAML), roles.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	p.rec = &roles.Reconciler{Registry: p.Registry, Checker: verdict{}}
	p.tick(0)
	return p
}

// boot lets a machine come up as a half.
func (p *pairRack) boot(m roles.MAC) {
	p.t.Helper()
	p.power.mu.Lock()
	p.power.on[m.String()] = true
	p.power.mu.Unlock()
	ticket, orders := p.hello(m)
	if orders.Slot == nil {
		p.t.Fatalf("%s got no slot: %+v", m, orders)
	}
	p.boots++
	p.keys[m] = p.boots
	p.claim(m, ticket.Boot.Token, p.boots)
	p.rack.report(m, ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
}

// tick lets so much time pass, and the reconciler look.
func (p *pairRack) tick(d time.Duration) {
	p.t.Helper()
	p.now = p.now.Add(d)
	if err := p.rec.Pass(p.t.Context(), map[roles.MAC]time.Time{}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pairRack) says(m roles.MAC, h roles.Half) roles.PairOrders {
	p.t.Helper()
	o, err := p.PairReport(p.t.Context(), m, key(p.keys[m]), h)
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func (p *pairRack) pair() roles.PairView {
	p.t.Helper()
	v, err := p.Pair("storage")
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// ready is a half with its disk attached; cluster is one that runs.
func ready(serial, meta string) roles.Half {
	return roles.Half{Phase: roles.PhaseReady, Disk: "/dev/vdb", Serial: serial, Meta: meta, DiskState: "Inconsistent", Connection: "Connected"}
}

func cluster(serial, meta string, active bool) roles.Half {
	return roles.Half{Phase: roles.PhaseCluster, Disk: "/dev/vdb", Serial: serial, Meta: meta, DiskState: "UpToDate", PeerDisk: "UpToDate",
		Connection: "Connected", Joined: true, Quorate: true, QDevice: true, Active: active}
}

func blank(serial string) roles.Half {
	return roles.Half{Phase: roles.PhaseDisk, Disk: "/dev/vdb", Serial: serial, Size: 1 << 30}
}

var st1, st2 = mac(1), mac(2)

// whole brings a new pair up: one is active.
func wholePair(t *testing.T) *pairRack {
	p := newPairRack(t)
	p.boot(st1)
	p.boot(st2)
	p.says(st1, blank("DATA-1"))
	p.says(st2, blank("DATA-2"))
	p.says(st1, ready("DATA-1", "m1"))
	p.says(st2, ready("DATA-2", "m2"))
	if o := p.says(st1, ready("DATA-1", "m1")); !o.Format {
		t.Fatalf("no order to make the file system: %+v", o)
	}
	if err := p.PairMade(t.Context(), st1, key(p.keys[st1])); err != nil {
		t.Fatal(err)
	}
	p.run()
	return p
}

// run lets both say that they run, one active.
func (p *pairRack) run() {
	p.t.Helper()
	p.says(st1, cluster("DATA-1", "m1", true))
	p.says(st2, cluster("DATA-2", "m2", false))
}

// alive lets so much time pass with both alive.
func (p *pairRack) alive(d time.Duration) {
	p.t.Helper()
	for end := p.now.Add(d); p.now.Before(end); {
		p.run()
		p.tick(2 * time.Second)
	}
	p.run()
}

func (p *pairRack) told(words string) bool {
	p.t.Helper()
	events, err := p.Events(0, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.ContainsFunc(events, func(ev roles.Event) bool { return strings.Contains(ev.Message+ev.Error, words) })
}

func (p *pairRack) wantTold(words ...string) {
	p.t.Helper()
	for _, w := range words {
		if !p.told(w) {
			p.t.Errorf("no event tells %q", w)
		}
	}
}

func TestNewPair(t *testing.T) {
	p := newPairRack(t)
	p.boot(st1)
	o := p.says(st1, blank("DATA-1"))
	if o.Make != "DATA-1" || o.Format || o.Start || o.Rule.Serial != "DATA-*" {
		t.Fatalf("orders %+v", o)
	}
	web, err := p.Pool("web")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stored(web.Pool, "web:1"); got != "waits for storage: storage-02 has not been seen; a new pair needs both machines" {
		t.Errorf("stored: %q", got)
	}
	// A crash before the metadata were seen loses nothing.
	if o = p.says(st1, blank("DATA-1")); o.Make != "DATA-1" {
		t.Fatalf("orders %+v", o)
	}
	if o = p.says(st1, ready("DATA-1", "m1")); o.Make != "" || o.Known != "m1" || o.Format {
		t.Fatalf("orders %+v", o)
	}
	p.boot(st2)
	if err := p.PairMade(t.Context(), st1, key(p.keys[st1])); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("made before it was told: %v", err)
	}
	p.says(st2, ready("DATA-2", "")) // attached without metadata: not known
	p.says(st2, ready("DATA-2", "m2"))
	if o = p.says(st2, ready("DATA-2", "m2")); o.Format || o.Start {
		t.Fatalf("orders of the second %+v", o)
	}
	if o = p.says(st1, ready("DATA-1", "m1")); !o.Format || o.Start {
		t.Fatalf("orders of the first %+v", o)
	}
	if err := p.PairMade(t.Context(), st2, key(p.keys[st2])); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the second made it: %v", err)
	}
	if err := p.PairMade(t.Context(), st1, key(p.keys[st1])); err != nil {
		t.Fatal(err)
	}
	if o = p.says(st1, ready("DATA-1", "m1")); o.Format || !o.Start {
		t.Fatalf("orders after it was made %+v", o)
	}
	p.run()
	v := p.pair()
	if v.State != roles.PairWhole || !v.Serving || v.Active != "storage-01" || len(v.Alerts) != 0 || !v.Disks["storage-02"].Whole {
		t.Errorf("pair %+v", v)
	}
	if got := p.Stored(web.Pool, "web:1"); got != "waits for storage: storage-01 is putting web:1 on the volume" {
		t.Errorf("stored: %q", got)
	}
	if got := p.Stored(web.Pool, ""); got != "" {
		t.Errorf("stored: %q", got)
	}
	p.wantTold("storage-01 serves at 10.77.0.9", "made the file system", "the blank disk DATA-2")
	p.alive(time.Minute)
	before := p.Revision()
	p.alive(2 * time.Minute)
	if p.Revision() != before {
		t.Error("reports that say nothing new are written")
	}
}
