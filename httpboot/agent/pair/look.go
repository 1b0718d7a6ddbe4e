package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// seen is what the daemon knows of the disk. It belongs to who looks or acts: one at a time (see Daemon.turn).
type seen struct {
	disk
	meta, carries string
	err           error
	at            time.Time
	disks, rule   string
}

// diskTime is how long after its start a machine may take to show its disks before that is worth an alarm: some spin up
// one after the other.
const diskTime = time.Minute

// seldom is the time between two looks that cost: programs take seconds on a busy machine.
const seldom = 10 * time.Second

// look makes a report. It may start programs and read disks.
func (d *Daemon) look(ctx context.Context) Report {
	m := &d.machine
	s := m.drbd()
	started := m.flag(StartFile)
	d.lookDisk(ctx, s, started)
	d.lookSplit(s)
	d.lookVerify(s)
	var r Report
	r.Disk, r.Size, r.Meta = d.seen.device, d.seen.size, d.seen.meta
	if d.seen.device != "" {
		r.Serial = d.seen.id()
	}
	if d.seen.meta == "" || d.seen.meta != d.orders.Known {
		r.Carries = d.seen.carries
	}
	r.Phase, r.Why = d.phase(s, started)
	r.Verify = d.token("verified")
	return d.glance(r)
}

// glance brings a report up to date with what is cheap to see, and needs nothing that somebody else may be working on.
func (d *Daemon) glance(r Report) Report {
	m := &d.machine
	s := m.drbd()
	r.Role, r.DiskState, r.PeerDisk, r.Connection = s.role, s.disk, s.peerDisk, s.connection
	r.Synced, r.Left, r.Frozen = s.synced, s.left, s.frozen
	r.Images, r.Revision = nil, ""
	if r.Active = m.active(d.Config); r.Active {
		r.Capacity, r.Used, _ = m.sys.Capacity(m.path(Volume))
	}
	d.mu.Lock()
	if r.Active {
		r.Images, r.Revision = d.made.images, d.made.revision
	}
	c := d.cluster
	r.Joined, r.Quorate, r.QDevice, r.Standby = c.joined, c.quorate, c.qdevice, c.standby
	r.Split = d.split
	d.mu.Unlock()
	r.Errors = d.errors()
	return r
}

// phase says how far the half is, and what it waits for.
func (d *Daemon) phase(s drbd, started bool) (phase, why string) {
	at, known := d.seen, d.orders.Known
	switch {
	case started && !s.attached():
		return PhaseCluster, "DRBD does not have its disk"
	case started:
		return PhaseCluster, ""
	case !d.heard:
		return PhaseDisk, "no boot server has said yet which disk is the pair's"
	case errors.Is(at.err, fs.ErrNotExist) && time.Since(d.began) < diskTime:
		return PhaseDisk, "waits for its disk: " + at.err.Error()
	case at.err != nil:
		return PhaseRefused, at.err.Error()
	case known != "" && at.meta == known && s.attached():
		return PhaseReady, d.orders.Wait
	case known != "" && at.meta == known:
		return PhaseDisk, "its disk is being attached"
	case known != "" && at.meta != "":
		return PhaseRefused, fmt.Sprintf("%s has DRBD metadata of another pair, or of another time (%s, and %s is known)", at.disk, at.meta, known)
	case at.carries != "":
		return PhaseRefused, fmt.Sprintf("%s carries %s; nothing is written to it. If all of that may go: muster storage claim %s --disk %s --erase",
			at.disk, at.carries, d.Config.Slot, shellWord(at.id()))
	case at.meta != "":
		return PhaseDisk, fmt.Sprintf("%s has DRBD metadata (%s) that the boot server does not know", at.disk, at.meta)
	}
	return PhaseDisk, fmt.Sprintf("%s is blank", at.disk)
}

// lookDisk finds the disk and sees what is on it, unless DRBD has it.
func (d *Daemon) lookDisk(ctx context.Context, s drbd, started bool) {
	m := &d.machine
	if started || s.attached() {
		if d.seen.err != nil || d.seen.device == "" || d.seen.meta == "" {
			d.seen = m.linked(ctx)
		}
		return
	}
	if !d.heard {
		return
	}
	disks, rule := list(m.disks()), fmt.Sprint(d.orders.Rule, d.orders.Known, d.orders.Make, d.orders.Erase)
	if d.seen.disks == disks && d.seen.rule == rule && time.Since(d.seen.at) < seldom {
		return
	}
	d.seen = d.inspect(ctx, d.orders.Rule)
	d.seen.disks, d.seen.rule = disks, rule
}

// inspect finds the disk by the rule and reads it.
func (d *Daemon) inspect(ctx context.Context, r Rule) seen {
	m := &d.machine
	now := seen{at: time.Now()}
	if now.disk, now.err = m.find(ctx, r); now.err != nil {
		return now
	}
	if now.err = m.unlayer(ctx); now.err != nil {
		return now
	}
	if who := m.held(now.disk); who != "" {
		now.err = fmt.Errorf("%s is not the pair's: %s", now.disk, who)
		return now
	}
	now.meta, now.carries, now.err = m.probe(ctx, now.disk)
	return now
}

// linked gives the disk that DRBD has, by the link that DRBD's configuration names.
func (m *machine) linked(ctx context.Context) seen {
	target, err := os.Readlink(m.path(DiskLink))
	if err != nil {
		return seen{err: fmt.Errorf("pair: DRBD runs, and which disk it has is not known: %w", err)}
	}
	target = m.beneathLayer(target)
	now := seen{disk: disk{name: filepath.Base(target), device: target}, at: time.Now()}
	for _, all := range m.disks() {
		if all.device == target {
			now.disk = all
		}
	}
	if now.serial == "" {
		now.serial = m.udevSerial(ctx, now.disk)
	}
	f, err := os.Open(m.path(target))
	if err != nil {
		now.err = fmt.Errorf("pair: %w", err)
		return now
	}
	defer f.Close()
	now.meta, now.err = readMeta(f, now.size)
	return now
}

// active says that this half serves: the volume is mounted here, and the address is here.
func (m *machine) active(c Config) bool {
	on, ok := m.mounted(Volume)
	if !ok || on.source != Device && on.source != m.path(Device) {
		return false
	}
	nic, err := m.net.Find(c.Floating.Addr())
	return err == nil && nic != ""
}
