package pair

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// copying is the copy that the boot server wants of this half, and the one that runs. Its zero value is ready.
type copying struct {
	mu     sync.Mutex
	begun  string // the one that was taken up last
	cancel context.CancelCauseFunc
	// done is closed when it has ended and left nothing.
	done chan struct{}
}

var errCalledOff = errors.New("nobody waits for it any more")

// copyAs follows the order to copy, or the lack of one. Copies run beside all else, one at a time; one that is wanted no
// more is stopped.
func (d *Daemon) copyAs(ctx context.Context, o *Copy) {
	c := &d.copying
	c.mu.Lock()
	defer c.mu.Unlock()
	id := ""
	if o != nil {
		id = o.ID
	}
	if id == c.begun {
		return
	}
	before := c.done
	if c.cancel != nil {
		c.cancel(errCalledOff)
		c.cancel = nil
	}
	c.begun = id
	if o == nil {
		return
	}
	ctx, c.cancel = context.WithCancelCause(ctx)
	done := make(chan struct{})
	c.done = done
	go func() { // ends with its programs, and with ctx
		defer close(done)
		if before != nil {
			<-before
		}
		d.copy(ctx, *o)
	}()
}

// endCopies stops what runs, and waits for its end: nothing of it may be left when the daemon is gone.
func (d *Daemon) endCopies() {
	d.copyAs(context.Background(), nil)
	d.copying.mu.Lock()
	done := d.copying.done
	d.copying.mu.Unlock()
	if done != nil {
		<-done
	}
}

// copy carries an order out, and tells the boot server how it ended.
func (d *Daemon) copy(ctx context.Context, o Copy) {
	begin := time.Now()
	d.Console.Say("storage pair: %s begins, as an operator wanted", o.Kind)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pieces{ctx: ctx, server: d.Server, id: o.ID}
	var note string
	var err error
	switch o.Kind {
	case CopyBackup:
		note, err = d.backup(ctx, cancel, o, p)
	case CopyRestore:
		note, err = d.restore(ctx, cancel, o, p)
	default:
		err = fmt.Errorf("this half does not know how to make a %q: its image is older than the boot server", o.Kind)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	end := CopyPiece{Done: true, Offset: p.offset, Note: note}
	if err != nil {
		end.Why = err.Error()
		d.Console.Fail("storage pair: %s: %v", o.Kind, err)
	} else {
		d.Console.Say("storage pair: %s is done after %.1f s; %s", o.Kind, time.Since(begin).Seconds(), note)
	}
	if errors.Is(err, errCalledOff) {
		return
	}
	// Who stops says so, though what was told it to stop.
	last, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	p.ctx = last
	_, _ = p.say(end) // nobody is there to hear that it failed
}

// backup sends an archive of the volume as it is now on this half, which waits for the other one's death and serves
// nothing.
func (d *Daemon) backup(ctx context.Context, cancel context.CancelCauseFunc, o Copy, p *pieces) (note string, err error) {
	m := &d.machine
	if why := d.mayCopy(); why != nil {
		return "", why
	}
	defer func() {
		if drop := m.dropSnapshot(context.WithoutCancel(ctx)); drop != nil {
			d.Console.Fail("storage pair: the end of a snapshot: %v", drop)
		}
	}()
	s, err := m.takeSnapshot(ctx, o.Room)
	if err != nil {
		return "", err
	}
	defer beside(ctx, func(ctx context.Context) { d.watchCopy(ctx, cancel) })()
	if err := d.writeManifest(s); err != nil {
		return "", err
	}
	sealer := NewSealer(p)
	if err := pack(ctx, m.path(manifestFile), m.path(copyMount), sealer); err != nil {
		return "", cmp.Or(p.err, err)
	}
	// What was read is the volume only if the snapshot still is one, and DRBD's disk was whole all the time.
	used, err := m.snapshotUse()
	if err == nil {
		err = d.mayCopy()
	}
	if err == nil {
		err = sealer.Seal()
	}
	if err == nil {
		err = p.flush()
	}
	if err != nil {
		return "", err
	}
	note = fmt.Sprintf("writes were held back for %.1f ms; %.1f of %d MiB of memory were used for what was overwritten meanwhile",
		s.held.Seconds()*1000, float64(used)/(1<<20), s.room>>20)
	return note, nil
}

// beside runs fn until what it gives is called.
func beside(ctx context.Context, fn func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		fn(ctx)
	}()
	return func() { cancel(); <-done }
}

// mayCopy says why this half's disk can't be copied: it is not what the pair's data are, or this half has better to do.
func (d *Daemon) mayCopy() error {
	m := &d.machine
	s := m.drbd()
	switch {
	case s.role == "Primary" || m.flag(ServingFile):
		return errors.New("this half serves by now: a backup is taken from the other one")
	case s.disk != "UpToDate" || s.connection != "Connected":
		return fmt.Errorf("this half has not all data (%s, %s)", s.disk, s.connection)
	}
	return nil
}

// watchCopy ends a backup as soon as it can come to nothing, and when this half is needed.
func (d *Daemon) watchCopy(ctx context.Context, cancel context.CancelCauseFunc) {
	for pause(ctx, glanceEvery) == nil {
		err := d.mayCopy()
		if err == nil {
			_, err = d.machine.snapshotUse()
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

// writeManifest writes what the archive is of.
func (d *Daemon) writeManifest(s snapshot) error {
	m := &d.machine
	now := Manifest{Format: 1, Pool: d.Config.Pool, Half: d.Config.Slot, At: s.at.UTC(), Held: float64(s.held.Microseconds()) / 1000}
	for _, kind := range []string{"volumes", "state"} {
		all, err := os.ReadDir(m.path(copyMount + "/" + kind))
		if err != nil {
			return fmt.Errorf("pair: %w", err)
		}
		for _, e := range all {
			if p := kind + "/" + e.Name(); e.IsDir() && CheckCopyPath(p) == nil {
				now.Paths = append(now.Paths, p)
			}
		}
	}
	b, err := json.MarshalIndent(now, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Clean(m.path(manifestFile)), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
}
