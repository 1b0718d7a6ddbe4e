package pair

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// follow does what the orders say and the report lacks, one step at a time. It reports whether something was done: then
// the next report is due at once.
func (d *Daemon) follow(ctx context.Context, o Orders, r Report) bool {
	if d.machine.flag(StartFile) {
		return d.runCluster(ctx, o, r)
	}
	steps := []struct {
		topic string
		do    func(ctx context.Context, o Orders, r Report) (done bool, err error)
	}{
		{"erase", d.eraseDisk},
		{"metadata", d.makeMeta},
		{"outdate", d.outdate},
		{"promote", d.promote},
		{"split", d.endSplit},
		{"start", d.startCluster},
		{"attach", d.attach},
		{"format", d.format},
	}
	for _, s := range steps {
		done, err := s.do(ctx, o, r)
		if ctx.Err() != nil {
			return false
		}
		if err == errLater {
			continue
		}
		d.fail(s.topic, err)
		if err != nil {
			return false
		}
		if done {
			return true
		}
	}
	return false
}

// drbdTime is for one of DRBD's programs. They wait for locks of each other, and for the disk.
const drbdTime = 2 * time.Minute

func (m *machine) drbdadm(ctx context.Context, args ...string) error {
	_, err := m.run(ctx, drbdTime, "drbdadm", args...)
	return err
}

// eraseDisk makes a disk blank that an operator gave. That it is that one is looked at again.
func (d *Daemon) eraseDisk(ctx context.Context, o Orders, r Report) (bool, error) {
	at := d.seen
	if o.Erase == "" || at.err != nil || at.device == "" || o.Erase != at.id() || d.machine.drbd().attached() {
		return false, nil
	}
	if at.meta != "" && at.meta == o.Known {
		return false, fmt.Errorf("%s is the pair's own and is not erased", at.disk)
	}
	if at.meta == "" && at.carries == "" {
		return false, nil
	}
	now := d.inspect(ctx, o.Rule)
	d.seen = seen{}
	if now.err != nil {
		return false, now.err
	}
	if now.disk != at.disk || now.meta != at.meta {
		return false, fmt.Errorf("%s is another disk than the one that was given (%s), and not erased", now.disk, at.disk)
	}
	d.Console.Say("storage pair: %s is erased, as an operator wanted", at.disk)
	err := d.machine.erase(ctx, at.disk)
	return err == nil, err
}

// makeMeta makes DRBD's metadata on a blank disk. That it is blank is looked at again: it may be another one by now.
func (d *Daemon) makeMeta(ctx context.Context, o Orders, r Report) (bool, error) {
	at := d.seen
	if o.Make == "" || at.err != nil || at.device == "" || at.meta != "" || at.carries != "" || o.Make != at.id() || d.machine.drbd().attached() {
		return false, nil
	}
	now := d.inspect(ctx, o.Rule)
	d.seen = seen{}
	if now.err != nil {
		return false, now.err
	}
	if now.disk != at.disk || now.meta != "" || now.carries != "" {
		return false, fmt.Errorf("%s is not blank any more (%s%s)", now.disk, now.meta, now.carries)
	}
	if err := d.machine.link(ctx, now.disk); err != nil {
		return false, err
	}
	d.Console.Say("storage pair: %s gets DRBD metadata", now.disk)
	err := d.machine.drbdadm(ctx, "create-md", "--force", Resource)
	return err == nil, err
}

// own says that the disk is the pair's and may be attached.
func (d *Daemon) own(o Orders) bool {
	return o.Known != "" && d.seen.err == nil && d.seen.device != "" && d.seen.meta == o.Known
}

// outdate marks this half's data as old, which is kept in the disk's metadata.
func (d *Daemon) outdate(ctx context.Context, o Orders, r Report) (bool, error) {
	s := d.machine.drbd()
	if !o.Outdated || !d.own(o) || s.disk == "Outdated" || s.disk == "Inconsistent" || s.connected() || d.token("outdated") == o.Known {
		return false, nil
	}
	if err := d.machine.link(ctx, d.seen.disk); err != nil {
		return false, err
	}
	err := d.machine.drbdadm(ctx, "outdate", Resource)
	// 5: its data are not even whole. That is worse, and kept as well.
	if exit, ok := errors.AsType[*ExitError](err); ok && exit.Code == 5 {
		err = nil
	}
	if err != nil {
		return false, err
	}
	return true, d.acted("outdated", o.Known)
}

// attach brings DRBD up before Pacemaker does: both halves are seen to be ready, and a new pair is formatted.
func (d *Daemon) attach(ctx context.Context, o Orders, r Report) (bool, error) {
	s := d.machine.drbd()
	if !d.own(o) || s.attached() {
		return false, nil
	}
	if err := d.machine.link(ctx, d.seen.disk); err != nil {
		return false, err
	}
	if s.configured() { // without its disk: from a try that failed
		if err := d.machine.drbdadm(ctx, "down", Resource); err != nil {
			return false, err
		}
	}
	err := d.machine.drbdadm(ctx, "up", Resource)
	return err == nil, err
}
