package serve

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"muster/httpboot/agent/pair"
	"muster/roles"
	"muster/roles/api"
)

// Times of a copy. A half reports every 2 s, so it has its order soon, and then takes the memory for a snapshot; one that
// is at work is watched by its reports.
const (
	copyBegin = 2 * time.Minute
	// copyHold is how long a half's word waits until somebody takes its piece, or has one: less than the half waits.
	copyHold  = 20 * time.Second
	copyWatch = time.Second
)

// copies are the backups and restores that somebody waits for, one of each pair. They end with who waits, and with
// this server: nothing of them is kept.
type copies struct {
	mu   sync.Mutex
	jobs map[string]*copyJob // by pool
}

// copyJob is one of them. Pieces go through pipe one after the other, in whichever direction.
type copyJob struct {
	order pair.Copy
	half  roles.HalfView
	// begun is closed with the half's first word, done when it has said its last, which is end.
	begun, done chan struct{}
	first, last sync.Once
	end         pair.CopyPiece
	pieces      chan pair.CopyPiece

	mu sync.Mutex
	// at is the offset behind the last piece, before is that piece: an answer may be lost on its way. Guarded by mu.
	at     int64
	before pair.CopyPiece
}

// begin notes an order, which the half gets with its next report. The caller ends it.
func (c *copies) begin(pool string, h roles.HalfView, order pair.Copy) (*copyJob, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[pool]; j != nil {
		return nil, fmt.Errorf("a %s of %s runs already: one at a time: %w", j.order.Kind, pool, fs.ErrExist)
	}
	if c.jobs == nil {
		c.jobs = map[string]*copyJob{}
	}
	order.ID = rand.Text()
	j := &copyJob{order: order, half: h, begun: make(chan struct{}), done: make(chan struct{}), pieces: make(chan pair.CopyPiece)}
	c.jobs[pool] = j
	return j, nil
}

// end forgets a job: what its half says from now on finds nobody.
func (c *copies) end(pool string, j *copyJob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs[pool] == j {
		delete(c.jobs, pool)
	}
}

// order is what a half of a pair is to do; nil for nothing.
func (c *copies) order(pool string, node roles.MAC) *pair.Copy {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.jobs[pool]
	if j == nil || j.half.Node != node {
		return nil
	}
	o := j.order
	return &o
}

// word takes what a half says, and answers it. The error wraps fs.ErrNotExist when nobody waits for it.
func (c *copies) word(ctx context.Context, pool string, node roles.MAC, p pair.CopyPiece) (pair.CopyPiece, error) {
	c.mu.Lock()
	j := c.jobs[pool]
	c.mu.Unlock()
	if j == nil || j.half.Node != node || j.order.ID != p.ID {
		return pair.CopyPiece{}, fmt.Errorf("nobody waits for this copy of %s: %w", pool, fs.ErrNotExist)
	}
	j.first.Do(func() { close(j.begun) })
	if p.Done {
		j.last.Do(func() { j.end = p; close(j.done) })
		return pair.CopyPiece{}, nil
	}
	return j.word(ctx, p)
}

func (j *copyJob) word(ctx context.Context, p pair.CopyPiece) (pair.CopyPiece, error) {
	ctx, cancel := context.WithTimeout(ctx, copyHold)
	defer cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	backup := j.order.Kind == pair.CopyBackup
	switch {
	case backup && len(p.Data) == 0 || len(p.Data) > pair.CopyPieceSize:
		return pair.CopyPiece{}, fmt.Errorf("a piece of %d bytes: %w", len(p.Data), fs.ErrInvalid)
	case j.at > 0 && p.Offset == j.before.Offset && (!backup || len(p.Data) == len(j.before.Data)) && p.Offset != j.at:
		if backup {
			return pair.CopyPiece{}, nil // it came, and its answer did not
		}
		return j.before, nil
	case p.Offset != j.at:
		return pair.CopyPiece{}, fmt.Errorf("a piece at %d comes after %d: %w", p.Offset, j.at, fs.ErrInvalid)
	}
	later := fmt.Errorf("nobody is ready for the piece at %d yet: %w", p.Offset, fs.ErrExist)
	if backup {
		select {
		case j.pieces <- p:
		case <-ctx.Done():
			return pair.CopyPiece{}, later
		}
		j.at, j.before = p.Offset+int64(len(p.Data)), p
		return pair.CopyPiece{}, nil
	}
	select {
	case out := <-j.pieces:
		out.Offset = p.Offset
		j.at, j.before = p.Offset+int64(len(out.Data)), out
		return out, nil
	case <-ctx.Done():
		return pair.CopyPiece{}, later
	}
}

// watch waits for one of these: the half's last word, what next does, or the end of hope. next nil waits for the last
// word alone.
func (s *server) watchCopy(ctx context.Context, pool string, j *copyJob, next func(<-chan time.Time) (more bool, err error)) error {
	t := time.NewTicker(copyWatch)
	defer t.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-j.done:
			if j.end.Why != "" {
				return fmt.Errorf("%s: %s: %w", j.half.Slot, clip(j.end.Why), fs.ErrInvalid)
			}
			return nil
		default:
		}
		if next != nil {
			more, err := next(t.C)
			if err != nil {
				return err
			}
			if !more {
				next = nil
			}
		} else {
			select {
			case <-j.done:
			case <-t.C:
			case <-ctx.Done():
			}
		}
		if err := s.copyAlive(pool, j, began); err != nil {
			return err
		}
	}
}

// copyAlive says when there is no hope for a copy.
func (s *server) copyAlive(pool string, j *copyJob, began time.Time) error {
	v, err := s.registry.Pair(pool)
	if err != nil {
		return err
	}
	if why := v.Lost(j.half.Slot, j.half.Node, time.Now()); why != "" {
		return fmt.Errorf("%s: %w", why, fs.ErrInvalid)
	}
	select {
	case <-j.begun:
	default:
		if time.Since(began) > copyBegin {
			return fmt.Errorf("%s does not begin: its image may be older than this boot server (muster image build, muster pool rollout): %w", j.half.Slot, fs.ErrInvalid)
		}
	}
	return nil
}

// Backup writes an archive of a pair's volumes and state to w, as they are when it begins.
func (s *server) Backup(ctx context.Context, pool string, q api.BackupRequest, w io.Writer) error {
	v, err := s.registry.Pair(pool)
	if err != nil {
		return err
	}
	b := roles.PairBackup{At: time.Now(), To: q.To}
	h, err := v.BackupHalf()
	if err != nil {
		if !v.Made.IsZero() { // somebody counts on it
			b.From = v.Halves[0].Slot
			s.noteBackup(ctx, pool, b, "", err)
		}
		return err
	}
	b.From = h.Slot
	j, err := s.copies.begin(pool, h, pair.Copy{Kind: pair.CopyBackup, Room: q.Room})
	if err != nil {
		return err
	}
	defer s.copies.end(pool, j)
	err = s.watchCopy(ctx, pool, j, func(tick <-chan time.Time) (bool, error) {
		select {
		case p := <-j.pieces:
			b.Size += int64(len(p.Data))
			_, err := w.Write(p.Data)
			return true, err
		case <-j.done:
		case <-tick:
		case <-ctx.Done():
		}
		return true, nil
	})
	s.noteBackup(ctx, pool, b, clip(j.note()), err)
	return err
}

// noteBackup keeps what became of a backup, though who asked may be gone.
func (s *server) noteBackup(ctx context.Context, pool string, b roles.PairBackup, note string, err error) {
	b.Took = roles.Duration(time.Since(b.At).Round(100 * time.Millisecond))
	if err != nil {
		b.Why = clip(faultOf(err))
	}
	if err := s.registry.NoteBackup(context.WithoutCancel(ctx), pool, b, note); err != nil {
		s.log.Error("backup not recorded", "pool", pool, "err", err)
	}
}

// faultOf is the sentence of a copy that failed.
func faultOf(err error) string { return strings.TrimSuffix(err.Error(), ": "+fs.ErrInvalid.Error()) }

// note is what the half said in the end.
func (j *copyJob) note() string {
	select {
	case <-j.done:
		return j.end.Note
	default:
		return ""
	}
}

// noteCopy leaves an event, though who asked may be gone.
func (s *server) noteCopy(ctx context.Context, slot, what, good string, err error) {
	fault := ""
	if err != nil {
		good, fault = "", what+" failed: "+faultOf(err)
	} else {
		good = what + ": " + good
	}
	if err := s.registry.NoteCopy(context.WithoutCancel(ctx), slot, good, clip(fault)); err != nil {
		s.log.Error("event not recorded", "node", slot, "err", err)
	}
}
