package roles_test

import (
	"errors"
	"fmt"
	"io/fs"

	"muster/roles"
)

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
	if o.Outdated && !m.connected() && d.complete && !x.active { // before it is attached
		d.outdated, d.alone = true, false
	}
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
