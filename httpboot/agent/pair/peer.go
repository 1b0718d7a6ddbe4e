package pair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// PeerHandler is the fence-peer handler of DRBD: it is called when the other half is lost, by a primary whose writes are
// frozen until it says how that went, and before a promotion.
//
// First the boot server notes that the other half's data are old, or says that this half's are; then crm-fence-peer.sh
// has Pacemaker's word, and its exit code is DRBD's answer: 3 the peer's disk is inconsistent, 4 it is outdated, 5 the
// peer is down, 6 it is primary, so that this half marks itself outdated, 7 it was switched off. With any other the
// writes stay frozen, and a promotion fails.
type PeerHandler struct {
	// Root is put before every path; empty on a real machine.
	Root string
	// System is the machine, Server the boot servers. Required.
	System System
	Server Server
	// Log takes what it says. Required.
	Log io.Writer
}

// crmFencePeer is the handler of drbd-utils for DRBD 8.4 under Pacemaker.
const crmFencePeer = "/usr/lib/drbd/crm-fence-peer.sh"

// peerFailed is an answer that DRBD takes for a broken handler.
const peerFailed = 1

// Patience with boot servers that do not answer. Frozen writes are served late rather than never: they are what keeps
// this half safe. A promotion that waits keeps Pacemaker from what else it could do.
const (
	peerFrozen  = 10 * time.Minute
	peerPromote = 20 * time.Second
	// fencedFor is how long a peer that this half has switched off itself is known to be off without the boot server.
	fencedFor = 2 * time.Minute
)

// Do gives the exit code. args and env are the process's own, for crm-fence-peer.sh.
func (p *PeerHandler) Do(ctx context.Context, args, env []string) int {
	if err := p.outdate(ctx); err != nil {
		fmt.Fprintf(p.Log, "fence-peer: %v\n", err)
		return peerFailed
	}
	m := machine{root: p.Root, sys: p.System}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	out, err := m.sys.Run(ctx, env, crmFencePeer, args...)
	code := 0
	if exit, ok := errors.AsType[*ExitError](err); ok {
		code = exit.Code
	} else if err != nil {
		out, code = err.Error(), peerFailed
	}
	fmt.Fprintf(p.Log, "fence-peer: %s: %d: %s\n", crmFencePeer, code, out)
	if code < 0 {
		return peerFailed
	}
	return code
}

// outdate has the boot server note that the peer's data are old. It fails when this half's own are, and when no boot
// server can be asked: that note is what keeps the older data from being served when both halves have been lost. Only a
// peer that was switched off for sure a moment ago may be noted later.
func (p *PeerHandler) outdate(ctx context.Context) error {
	m := machine{root: p.Root, sys: p.System}
	patience := peerPromote
	frozen := m.drbd().role == "Primary"
	if frozen {
		patience = peerFrozen
	}
	if err := m.mayOutdate(ctx, frozen, patience); err != nil {
		return err
	}
	for begin := time.Now(); ; {
		err := p.Server.Call(ctx, callTime, OpOutdate, nil, nil)
		// A boot server that does not take this half for one may do so again: its rack is being changed, or restored.
		// DRBD does not ask twice, and the volume would stay frozen for good.
		refused := errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrInvalid)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("pair: this half's own data are not the newest: %w", err)
		case !refused && m.fencedLately():
			fmt.Fprintf(p.Log, "fence-peer: %v; the peer was switched off, so this goes on\n", err)
			return m.write(owedFile, nil, 0o600)
		case time.Since(begin) > patience || ctx.Err() != nil:
			return err
		case m.drbd().connected():
			return fmt.Errorf("pair: the peer is back, before any boot server was: %w", err)
		}
		fmt.Fprintf(p.Log, "fence-peer: %v; again\n", err)
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// Times of Corosync: it may notice a loss later than DRBD does, and the third vote after that.
const (
	quorumLook = 500 * time.Millisecond
	lossTime   = 15 * time.Second
)

// mayOutdate waits until this half may speak for the pair: Corosync has noticed as well that the other one is gone, and
// this side has the quorum. The other side of a split may have it, and would be kept from taking over by a note of
// this one. Where only DRBD has lost the other half, that goes on after lossTime; where Corosync does not run, an
// operator has decided (see Daemon.promote).
func (m *machine) mayOutdate(ctx context.Context, frozen bool, patience time.Duration) error {
	sure := 0
	for begin := time.Now(); ; {
		out, _ := m.run(ctx, 10*time.Second, "corosync-quorumtool", "-s")
		c := parseQuorum(out)
		switch past := time.Since(begin); {
		case c.nodes == 0 && !m.flag(StartFile):
			return nil
		case c.quorate && !frozen:
			return nil // Pacemaker, which promotes, knows who is there
		case c.quorate && (c.nodes == 1 || past >= lossTime):
			// Just after a loss it may still have the quorum of before.
			if sure++; sure > 1 {
				return nil
			}
		case past > patience:
			return errors.New("pair: this side has no quorum: it can't say whose data are old")
		case m.drbd().connected():
			return errors.New("pair: the peer is back")
		default:
			sure = 0
		}
		if err := pause(ctx, quorumLook); err != nil {
			return err
		}
	}
}

// owedFile is there while the boot server has still to be told that the peer's data are old.
const owedFile = RunDir + "/outdate"

// fencedLately says that this half has switched the other one off a moment ago, for sure.
func (m *machine) fencedLately() bool {
	at, err := time.Parse(time.RFC3339Nano, m.word(fencedFile))
	return err == nil && time.Since(at) >= 0 && time.Since(at) < fencedFor
}

// oweOutdate tells the boot server what the fence-peer handler could not.
func (d *Daemon) oweOutdate(ctx context.Context, o Orders, r Report) (bool, error) {
	m := &d.machine
	if !m.flag(owedFile) {
		return false, nil
	}
	if !m.drbd().connected() { // else both have the same data by now, or will
		if err := d.Server.Call(ctx, callTime, OpOutdate, nil, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, err
		}
	}
	return true, gone(m.remove(owedFile))
}
