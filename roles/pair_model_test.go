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
	seeds, steps := 24, 400
	if testing.Short() {
		seeds = 10
	}
	var failovers, shots, syncs, makes int
	ok := t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			m := newPairModel(t, uint64(seed))
			for range steps {
				m.step()
			}
			m.settle()
			failovers, shots, syncs, makes = failovers+m.failovers, shots+m.shots, syncs+m.syncs, makes+m.makes
		}
	})
	// The seeds are the same in every run, and so are these.
	if ok && min(failovers, shots, syncs, 3*(makes-2*seeds)) < seeds/2 {
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
	for range 200 {
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
