package pair

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// runCluster is what is left to do while Pacemaker runs.
func (d *Daemon) runCluster(ctx context.Context, o Orders, r Report) bool {
	steps := []struct {
		topic string
		do    func(ctx context.Context, o Orders, r Report) (done bool, err error)
	}{
		{"cluster", d.keepCluster},
		{"third vote", d.lateVote},
		{"fence-peer", d.oweOutdate},
		{"promote", d.promote},
		{"split", d.endSplit},
		{"maintenance", d.setStandby},
		{"verify", d.verify},
	}
	any := false
	for _, s := range steps {
		done, err := s.do(ctx, o, r)
		if ctx.Err() != nil {
			return false
		}
		if err != errLater {
			d.fail(s.topic, err)
		}
		any = any || done
	}
	return any
}

// clusterSeen is what the cluster said, when that was, and DRBD's state then.
type clusterSeen struct {
	cluster
	at   time.Time
	drbd string
}

// watchCluster asks Corosync and Pacemaker from time to time, until ctx ends. It has a goroutine of its own: in a
// failover, which the boot server is to hear of, they may take long to answer.
func (d *Daemon) watchCluster(ctx context.Context) {
	for {
		d.askCluster(ctx)
		if pause(ctx, time.Second) != nil {
			return
		}
	}
}

// askCluster asks when DRBD's state has changed or some time has passed: the programs cost a busy machine a second.
func (d *Daemon) askCluster(ctx context.Context) {
	if !d.machine.flag(StartFile) {
		return
	}
	s := d.machine.drbd()
	state := s.connection + s.role + s.peerRole + s.disk + s.peerDisk
	d.mu.Lock()
	due := d.cluster.drbd != state || time.Since(d.cluster.at) >= seldom
	d.mu.Unlock()
	if !due {
		return
	}
	c := d.machine.cluster(ctx, d.Config.Slot)
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cluster = clusterSeen{cluster: c, at: time.Now(), drbd: state}
}

// keepCluster starts the cluster again that was not there to be joined at the last look.
func (d *Daemon) keepCluster(ctx context.Context, o Orders, r Report) (bool, error) {
	if r.Joined || len(d.machine.processes("pacemakerd")) > 0 {
		return false, nil
	}
	if !d.rare(startTry, time.Minute) {
		return false, errLater
	}
	_, err := d.machine.run(ctx, time.Minute, "systemctl", "start", "--no-block", Target)
	return false, err
}

// lateVote gets what the third vote needs when it could not be had at the start.
func (d *Daemon) lateVote(ctx context.Context, o Orders, r Report) (bool, error) {
	if d.machine.flag(nssDone) {
		return false, nil
	}
	if !d.rare(voteTry, 30*time.Second) {
		return false, errLater
	}
	if err := d.vote(ctx); err != nil {
		return false, err
	}
	_, err := d.machine.run(ctx, time.Minute, "systemctl", "restart", "--no-block", "corosync-qdevice.service")
	return true, err
}

// errLater says that something is not due yet: what was wrong with it stands.
var errLater = errors.New("later")

// What is done rarely.
const (
	startTry = "start"
	voteTry  = "vote"
)

// rare says yes once in that time.
func (d *Daemon) rare(name string, every time.Duration) bool {
	if d.last == nil {
		d.last = map[string]time.Time{}
	}
	if time.Since(d.last[name]) < every {
		return false
	}
	d.last[name] = time.Now()
	return true
}

// promote makes this half's data the ones that count, as an operator has decided: they are UpToDate from then on, and
// Pacemaker promotes them. One that talks to nobody tries that again first: after a split the other half may have been
// told to give its data up, and where there was none it may have all of them.
func (d *Daemon) promote(ctx context.Context, o Orders, r Report) (bool, error) {
	if o.Promote == "" || o.Promote == d.token("promoted") {
		return false, nil
	}
	m := &d.machine
	s := m.drbd()
	switch {
	case s.connection == "StandAlone" && d.token("reconnected") != o.Promote:
		if err := m.drbdadm(ctx, "connect", Resource); err != nil {
			return false, err
		}
		return true, d.acted("reconnected", o.Promote)
	case s.connected() || s.disk == "UpToDate":
		// It has what it needs.
	case s.disk == "Inconsistent":
		return false, fmt.Errorf("its data are those of a resync that did not end: there is nothing whole to go on with")
	case s.disk != "Consistent" && s.disk != "Outdated":
		return false, nil // not attached yet
	default:
		d.Console.Say("storage pair: goes on with this half alone, as an operator wanted")
		if err := m.drbdadm(ctx, "primary", "--force", Resource); err != nil {
			return false, err
		}
		if err := m.drbdadm(ctx, "secondary", Resource); err != nil {
			return false, err
		}
	}
	return true, d.acted("promoted", o.Promote)
}

// setStandby tells Pacemaker whether this half may run anything.
func (d *Daemon) setStandby(ctx context.Context, o Orders, r Report) (bool, error) {
	if !r.Joined || r.Standby == o.Standby {
		return false, nil
	}
	if !d.rare("standby", seldom) {
		return false, errLater
	}
	args := []string{"--node", d.Config.Slot, "--name", "standby", "--lifetime", "forever"}
	if o.Standby {
		args = append(args, "--update", "on")
	} else {
		args = append(args, "--delete")
	}
	_, err := d.machine.run(ctx, time.Minute, "crm_attribute", args...)
	d.mu.Lock()
	d.cluster.at = time.Time{}
	d.mu.Unlock()
	return err == nil, err
}
