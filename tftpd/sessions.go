package tftpd

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons to drop a request without an answer.
var (
	errBusy      = errors.New("as many transfers as are allowed are under way")
	errDuplicate = errors.New("the same request is being answered")
)

// sessions are the transfers that are under way, one for each client port.
type sessions struct {
	max int

	mu sync.Mutex // guards the rest
	by map[netip.AddrPort]*session
	n  int // transfers that hold a place, those that are superseded and not ended yet among them
}

// session is one transfer.
type session struct {
	all     *sessions
	remote  netip.AddrPort
	request []byte
	cancel  context.CancelCauseFunc
	began   time.Time
	// heard is how long after began the client was heard last; 0 means never.
	heard atomic.Int64
}

// quiet is how long a transfer was not heard of before the same request is taken for a new one. A machine takes
// longer to start again, and repetitions that a busy server has not read yet are younger.
const quiet = 3 * time.Second

func newSessions(max int) *sessions {
	if max <= 0 {
		max = defaultMaxTransfers
	}
	return &sessions{max: max, by: make(map[netip.AddrPort]*session)}
}

// start takes a place for a request from remote, until the session's end is called. The context ends with
// the cause ErrSuperseded when the client begins again.
//
// The same request again is a repetition, which the transfer's own timer answers, as long as the transfer
// goes on or was never heard of: under load a client repeats its request before the first one is read, and
// ending the transfer that it then follows would lose it. Any other request means that the client has begun
// again (ROMs use the same port after a reset, and for the file after the one whose size they asked for), so
// the old transfer ends.
func (a *sessions) start(ctx context.Context, remote netip.AddrPort, p []byte) (context.Context, *session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.by[remote]; old != nil {
		if bytes.Equal(old.request, p) && old.goesOn() {
			return nil, nil, errDuplicate
		}
		old.cancel(ErrSuperseded)
	}
	if a.n >= a.max {
		return nil, nil, errBusy
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{all: a, remote: remote, request: bytes.Clone(p), cancel: cancel, began: time.Now()}
	a.by[remote] = s
	a.n++
	return ctx, s, nil
}

// hear takes note that the client has answered.
func (s *session) hear(now time.Time) { s.heard.Store(max(1, int64(now.Sub(s.began)))) }

// goesOn reports whether the client follows this transfer, or may be about to.
func (s *session) goesOn() bool {
	heard := s.heard.Load()
	return heard == 0 || time.Since(s.began)-time.Duration(heard) < quiet
}

// end gives the place back.
func (s *session) end() {
	s.cancel(nil)
	a := s.all
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	if a.by[s.remote] == s {
		delete(a.by, s.remote)
	}
}

// dropReason is err of start in one word.
func dropReason(err error) string {
	if errors.Is(err, errBusy) {
		return "busy"
	}
	return "duplicate"
}
