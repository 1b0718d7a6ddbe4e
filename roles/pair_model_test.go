package roles_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// TestPairModel lets two machines with disks, Pacemaker, operators, thieves of power and time do what they like, in
// any order. Whatever happens, no data are lost that somebody did not give up.
func TestPairModel(t *testing.T) {
	seeds, steps := 60, 400
	if testing.Short() {
		seeds = 10
	}
	var failovers, shots, syncs, makes int
	t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			m := newPairModel(t, uint64(seed))
			for range steps {
				m.step()
			}
			m.settle()
			failovers, shots, syncs, makes = failovers+m.failovers, shots+m.shots, syncs+m.syncs, makes+m.makes
		}
	})
	t.Logf("%d failovers, %d shots, %d syncs, %d disks made", failovers, shots, syncs, makes)
	if min(failovers, shots, syncs, makes-2*seeds) < seeds/2 {
		t.Errorf("%d failovers, %d shots, %d syncs, %d disks made: the model tries too little", failovers, shots, syncs, makes)
	}
}

// pairModel is a storage pair and the truth about its disks.
type pairModel struct {
	*pairRack
	rand   *rand.Rand
	boxes  [2]*pairBox
	linked bool
	// writes is how many writes clients were told to be safe, made that there is a file system.
	writes int
	made   bool
	serial int
	log    []string
	disks  []*pairDisk // all that ever were
	// given says that an operator has given up data.
	given                          bool
	failovers, shots, syncs, makes int
}

// pairBox is a machine.
type pairBox struct {
	mac      roles.MAC
	on       bool
	disk     *pairDisk
	attached bool
	started  bool
	active   bool
	promoted string // the token of the promotion that was carried out
	// synced says that it was in sync in this boot: DRBD believes then that it may go on when the other is gone, and
	// asks the boot server.
	synced bool
}

// pairDisk is a disk: what is on it, and what DRBD has noted there.
type pairDisk struct {
	serial, meta, carries string
	writes                int  // the newest one on it
	complete              bool // it has everything up to that
	outdated              bool // it knows that it is not the newest
	alone                 bool // it knows that it is the newest: the other is marked as outdated
}

func (d *pairDisk) state(connected bool) string {
	switch {
	case !d.complete:
		return "Inconsistent"
	case connected || d.alone:
		return "UpToDate"
	case d.outdated:
		return "Outdated"
	}
	return "Consistent"
}

func newPairModel(t *testing.T, seed uint64) *pairModel {
	m := &pairModel{pairRack: newPairRack(t), rand: rand.New(rand.NewPCG(seed, 7)), linked: true}
	for i := range m.boxes {
		m.boxes[i] = &pairBox{mac: mac(i + 1), disk: m.newDisk()}
		m.start(i) // in order: each has its slot from now on
	}
	return m
}

func (m *pairModel) newDisk() *pairDisk {
	m.serial++
	d := &pairDisk{serial: fmt.Sprint("DATA-", m.serial)}
	m.disks = append(m.disks, d)
	return d
}

func (m *pairModel) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-60):], "\n"))
}

func (m *pairModel) note(format string, args ...any) {
	m.log = append(m.log, m.now.Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (m *pairModel) step() {
	m.t.Helper()
	m.now = m.now.Add(time.Duration(m.rand.IntN(3000)) * time.Millisecond)
	i := m.rand.IntN(2)
	x := m.boxes[i]
	switch n := m.rand.IntN(200); {
	case n < 120:
		for _, k := range [2]int{i, 1 - i} {
			m.sync()
			m.turn(k)
		}
	case n < 140:
		m.tick(time.Duration(m.rand.IntN(15)) * time.Second)
		m.powered()
	case n < 150:
		m.write()
	case n < 155:
		m.start(i)
	case n < 158:
		m.note("%d crashes", i)
		m.stop(x)
	case n < 160:
		m.linked = !m.linked || m.rand.IntN(3) > 0
		m.note("linked %v", m.linked)
	case n < 163 && !x.on:
		x.disk = m.newDisk()
		if m.rand.IntN(3) == 0 {
			x.disk.carries = "ext4"
		}
		m.note("%d has another disk, %+v", i, *x.disk)
	case n < 164 && !x.on && !m.boxes[1-i].on:
		m.note("disks are swapped")
		x.disk, m.boxes[1-i].disk = m.boxes[1-i].disk, x.disk
	case n < 166:
		m.note("the server restarts")
		m.restart()
	case n < 172:
		_, err := m.ClaimDisk(m.t.Context(), m.slot(i), x.disk.serial)
		m.note("claim %d %s: %v", i, x.disk.serial, err)
		m.kind(err)
	case n < 173:
		_, err := m.PromoteHalf(m.t.Context(), m.slot(i), false)
		m.note("promote %d: %v", i, err)
		if m.kind(err); err == nil {
			m.given = true
		}
		m.powered()
	case n < 176:
		_, err := m.MaintainHalf(m.t.Context(), m.slot(i), m.rand.IntN(2) == 0)
		m.kind(err)
	case n < 178:
		_, err := m.KeepHalf(m.t.Context(), m.slot(i))
		if err == nil {
			m.fail("a split is decided where none was")
		}
	case n < 186:
		m.power.mu.Lock()
		if m.power.err = nil; m.rand.IntN(2) == 0 {
			m.power.err = errPDU
		}
		m.power.mu.Unlock()
	case n < 188:
		_, err := m.VerifyPair(m.t.Context(), "storage")
		m.kind(err)
	}
	m.invariants()
}

func (m *pairModel) slot(i int) string { return fmt.Sprintf("storage-%02d", i+1) }

// kind checks an error of a call that may be refused.
func (m *pairModel) kind(err error) {
	m.t.Helper()
	if err != nil && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		m.fail("an error without a kind: %v", err)
	}
}

// start boots a machine that is off, or was switched on by Muster.
func (m *pairModel) start(i int) {
	x := m.boxes[i]
	if x.on {
		return
	}
	x.on = true
	m.note("%d boots", i)
	m.boot(x.mac)
}

// stop is the end of what a machine remembers.
func (m *pairModel) stop(x *pairBox) {
	*x = pairBox{mac: x.mac, disk: x.disk}
	m.power.mu.Lock()
	defer m.power.mu.Unlock()
	m.power.on[x.mac.String()] = false
}

// powered brings the machines to what their outlets are.
func (m *pairModel) powered() {
	for i, x := range m.boxes {
		m.power.mu.Lock()
		on := m.power.on[x.mac.String()]
		m.power.mu.Unlock()
		if x.on && !on {
			m.note("%d is switched off", i)
			m.stop(x)
		} else if !x.on && on {
			m.start(i)
		}
	}
}

// connected reports whether both see each other's disk.
func (m *pairModel) connected() bool {
	return m.linked && m.boxes[0].attached && m.boxes[1].attached
}

// sync lets DRBD bring both disks to the newer data.
func (m *pairModel) sync() {
	a, b := m.boxes[0].disk, m.boxes[1].disk
	if !m.connected() || !m.made || !a.complete && !b.complete {
		return
	}
	if b.complete && (!a.complete || a.outdated && !b.outdated || a.outdated == b.outdated && b.writes > a.writes) {
		a, b = b, a
	}
	if a.outdated && !b.complete {
		return // a stale one is no source
	}
	if b.writes != a.writes || !b.complete || a.alone || b.outdated {
		m.syncs++
		m.note("sync of %s from %s (%d)", b.serial, a.serial, a.writes)
	}
	m.boxes[0].synced, m.boxes[1].synced = true, true
	*b = pairDisk{serial: b.serial, meta: b.meta, writes: a.writes, complete: true}
	a.alone = false
}

// write is what a client does.
func (m *pairModel) write() {
	for i, x := range m.boxes {
		if !x.active {
			continue
		}
		o := m.boxes[1-i]
		switch {
		case m.connected() && o.disk.complete:
			m.writes++
			x.disk.writes, o.disk.writes = m.writes, m.writes
		case x.disk.alone:
			m.writes++
			x.disk.writes = m.writes
		}
	}
}

// turn lets a half report, and do what it is told.
func (m *pairModel) turn(i int) {
	m.t.Helper()
	x := m.boxes[i]
	if !x.on {
		return
	}
	h := m.half(i)
	o, err := m.PairReport(m.t.Context(), x.mac, key(m.keys[x.mac]), h)
	if m.kind(err); err != nil {
		m.note("%d reports: %v", i, err)
		return
	}
	m.note("%d says %s %s %s %s active %v → make %q erase %q format %v start %v outdated %v promote %q: %s", i, h.Phase, h.Serial, h.Meta, h.DiskState, h.Active,
		o.Make, o.Erase, o.Format, o.Start, o.Outdated, o.Promote, o.Wait)
	m.check(i, o)
	m.follow(i, o)
	m.pacemaker(i)
}

func (m *pairModel) half(i int) roles.Half {
	x := m.boxes[i]
	h := roles.Half{Phase: roles.PhaseDisk, Disk: "/dev/vdb", Serial: x.disk.serial, Size: 1 << 30, Meta: x.disk.meta, Carries: x.disk.carries, Active: x.active}
	if !x.attached {
		return h
	}
	h.Phase, h.Connection = roles.PhaseReady, "WFConnection"
	if x.started {
		h.Phase, h.Joined, h.Quorate, h.QDevice = roles.PhaseCluster, true, true, true
	}
	o := m.boxes[1-i]
	if m.connected() {
		h.Connection, h.PeerDisk = "Connected", o.disk.state(true)
	}
	h.DiskState = x.disk.state(m.connected() && o.disk.complete || x.active)
	return h
}

// check is what no orders may ever be.
func (m *pairModel) check(i int, o roles.PairOrders) {
	m.t.Helper()
	x, v := m.boxes[i], m.pair()
	d := x.disk
	switch {
	case o.Make != "" && (d.meta != "" || d.carries != "" || d.serial != o.Make):
		m.fail("metadata are to be made on %+v", *d)
	case o.Erase != "" && (v.Claims[m.slot(i)] != d.serial || d.serial != o.Erase):
		m.fail("%+v is to be erased, and nobody claimed it", *d)
	case o.Erase != "" && m.made && d.complete && d.writes == m.writes && !m.elsewhere(i):
		m.fail("the only copy is to be erased")
	case o.Format && (i != 0 || m.made):
		m.fail("%d is to make a file system; made: %v", i, m.made)
	case o.Start && v.Outdated == m.slot(i) && !o.Outdated:
		m.fail("an outdated half starts")
	case (o.Discard || v.Keep != "") && !m.given:
		m.fail("data are discarded, and nobody decided that")
	case o.Promote != "" && !m.given:
		m.fail("%d is promoted, and nobody decided that", i)
	case o.Known != "" && o.Make != "" || o.Start && o.Format:
		m.fail("orders contradict each other: %+v", o)
	}
}

// elsewhere reports whether the other machine has all data.
func (m *pairModel) elsewhere(i int) bool {
	d := m.boxes[1-i].disk
	return d.complete && d.writes == m.writes
}

func (m *pairModel) follow(i int, o roles.PairOrders) {
	m.t.Helper()
	x := m.boxes[i]
	d := x.disk
	switch {
	case o.Erase != "":
		*d = pairDisk{serial: d.serial}
	case o.Make != "" && m.rand.IntN(3) > 0:
		m.makes++
		m.serial++
		d.meta = fmt.Sprint("m", m.serial)
	case o.Known != "" && o.Known == d.meta && !x.attached:
		x.attached = true
	case o.Format && m.connected() && m.rand.IntN(3) > 0:
		if err := m.PairMade(m.t.Context(), x.mac, key(m.keys[x.mac])); err != nil {
			m.fail("the file system is made, and that is refused: %v", err)
		}
		m.made = true
		for _, b := range m.boxes {
			b.disk.complete = true
		}
	case o.Start && x.attached:
		x.started = true
	}
	if o.Outdated && !m.connected() && d.complete && !x.active {
		d.outdated, d.alone = true, false
	}
	if o.Promote != "" && o.Promote != x.promoted && x.attached && !m.boxes[1-i].active {
		x.promoted = o.Promote
		d.outdated, d.alone = false, true
		m.writes = d.writes // the others are given up
	}
}

// pacemaker runs the volume on i where it may: alone only after the other is off for sure.
func (m *pairModel) pacemaker(i int) {
	m.t.Helper()
	x, o := m.boxes[i], m.boxes[1-i]
	if !x.started || x.active && m.connected() {
		return
	}
	if m.connected() {
		state := x.disk.state(o.disk.complete)
		if o.active || !m.made || state != "UpToDate" || x.disk.writes != o.disk.writes || !o.disk.complete {
			return
		}
		m.activate(i)
		return
	}
	if x.active && x.disk.alone {
		return
	}
	// The handler of DRBD and Pacemaker's own fencing run side by side.
	early := m.rand.IntN(2) == 0 && m.maySurvive(i)
	if early && !m.outdates(i) {
		return
	}
	if !m.shoots(i) || !early && !(m.maySurvive(i) && m.outdates(i)) {
		return
	}
	x.disk.alone, x.disk.outdated = true, false
	if !x.active {
		m.failovers++
		m.activate(i)
	}
}

// maySurvive reports whether DRBD would let the half go on without the other, if the boot server does.
func (m *pairModel) maySurvive(i int) bool {
	x := m.boxes[i]
	state := x.disk.state(false)
	return x.on && m.made && (state == "UpToDate" || state == "Consistent" && x.synced)
}

// outdates lets i say that the other's data are not the newest.
func (m *pairModel) outdates(i int) bool {
	m.t.Helper()
	x := m.boxes[i]
	err := m.PairOutdate(m.t.Context(), x.mac, key(m.keys[x.mac]))
	m.note("%d outdates the other: %v", i, err)
	m.kind(err)
	return err == nil
}

// shoots lets i switch the other off.
func (m *pairModel) shoots(i int) bool {
	m.t.Helper()
	x, o := m.boxes[i], m.boxes[1-i]
	was := m.keys[o.mac]
	err := m.PairFence(m.t.Context(), x.mac, key(m.keys[x.mac]), false)
	m.note("%d shoots: %v", i, err)
	if err != nil {
		if !errors.Is(err, errPDU) {
			m.kind(err)
		}
		return false
	}
	m.shots++
	if m.powered(); o.on {
		m.fail("%d was shot, and runs", 1-i)
	}
	if err := m.PairFence(m.t.Context(), o.mac, key(was), false); was != 0 && !errors.Is(err, fs.ErrPermission) {
		if n, _ := m.Node(o.mac.String()); n.State != roles.StateOff || len(m.pair().Fenced) > 0 {
			m.fail("who was shot shoots back: %v", err)
		}
	}
	m.powered()
	return x.on
}

func (m *pairModel) activate(i int) {
	m.t.Helper()
	m.note("%d becomes active", i)
	if d := m.boxes[i].disk; d.writes != m.writes || !d.complete {
		m.fail("%d serves %d of %d writes", i, d.writes, m.writes)
	}
	m.boxes[i].active = true
}

func (m *pairModel) invariants() {
	m.t.Helper()
	if m.boxes[0].active && m.boxes[1].active {
		m.fail("both are active")
	}
	v := m.pair()
	if len(v.Fenced) == 2 && m.boxes[0].on && m.boxes[1].on {
		m.fail("both are fenced: %v", v.Fenced)
	}
	if !v.Made.IsZero() != m.made {
		m.fail("made %v, and it is kept as %v", m.made, v.Made)
	}
	if !m.made {
		return
	}
	for _, d := range m.disks {
		known := d.meta != "" && (d.meta == v.Disks["storage-01"].Meta || d.meta == v.Disks["storage-02"].Meta)
		if known && d.complete && d.writes == m.writes {
			return
		}
	}
	m.fail("no disk that the pair knows has the %d writes: %+v", m.writes, v.Disks)
}

// settle lets a rack alone that has all its disks: it must serve by itself, or say what it waits for.
func (m *pairModel) settle() {
	m.t.Helper()
	m.linked, m.power.err = true, nil
	for range 300 {
		m.now = m.now.Add(time.Second)
		for i := range m.boxes {
			m.start(i)
			m.sync()
			m.turn(i)
		}
		m.tick(0)
		m.powered()
		m.write()
		m.invariants()
	}
	v := m.pair()
	if v.State != roles.PairWhole && len(v.Alerts) == 0 && v.Why == "" {
		m.fail("it does not serve, and says nothing: %+v", v)
	}
	for _, b := range m.boxes {
		if b.disk.meta == "" || v.Disks["storage-01"].Meta != m.boxes[0].disk.meta || v.Disks["storage-02"].Meta != m.boxes[1].disk.meta {
			return // a disk is away, or a stranger
		}
	}
	if m.elsewhere(0) && m.elsewhere(1) && v.State != roles.PairWhole && len(v.Standby) == 0 {
		m.fail("all is there, and it does not serve: %+v", v)
	}
}
