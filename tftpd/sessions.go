package tftpd

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons to drop a request without an answer.
var (
	errBusy      = errors.New("as many transfers as are allowed are under way, and as many wait")
	errDuplicate = errors.New("the same request is being answered")
)

const (
	// quiet is how long a transfer was not heard of before the same request is taken for a new one. A machine takes
	// longer to start again, and repetitions that a busy server has not read yet are younger.
	quiet = 3 * time.Second
	// halfOpen is how long a request that was never followed up keeps its place when others wait for one. A client
	// answers within a round trip.
	halfOpen = time.Second
	// patient is how long a request waits for a place before it is forgotten, unless it is repeated.
	patient = 10 * time.Second
)

// sessions are the transfers that are under way and the requests that wait for a place, one for each client port.
// Places go round: each client's address has its turn, so that none waits longer because another asks more often.
type sessions struct {
	max, perClient int

	mu      sync.Mutex // guards the rest, and the sessions' own fields
	by      map[netip.AddrPort]*session
	clients map[netip.Addr]*client
	n       int // transfers that hold a place, those that are superseded and not ended yet among them
	waiting int
	turns   list.List // of *client, those with requests that wait
	unheard list.List // of *session, those under way whose client was never heard, oldest first
}

// client is one address.
type client struct {
	addr    netip.Addr
	n       int // transfers that hold a place
	waiting []*session
}

// session is one transfer, or one request that waits.
type session struct {
	all     *sessions
	peer    Peer
	request []byte
	asked   time.Time // when the request came last
	running bool
	cancel  context.CancelCauseFunc // of a transfer that is under way
	ctx     context.Context
	unheard *list.Element
	began   time.Time
	// heard is how long after began the client was heard last; 0 means never.
	heard atomic.Int64
}

func newSessions(max, perClient int) *sessions {
	if max <= 0 {
		max = defaultMaxTransfers
	}
	if perClient <= 0 {
		perClient = (max + 3) / 4
	}
	return &sessions{max: max, perClient: perClient, by: make(map[netip.AddrPort]*session), clients: make(map[netip.Addr]*client)}
}

// start takes a request. It gives the session that is to be served now, or nil when it has to wait: then another
// session's end gives it.
//
// The same request again is a repetition, which the transfer's own timer answers, as long as the transfer
// goes on or was never heard of: under load a client repeats its request before the first one is read, and
// ending the transfer that it then follows would lose it. Any other request means that the client has begun
// again (ROMs use the same port after a reset, and for the file after the one whose size they asked for), so
// the old transfer ends, with the cause ErrSuperseded.
func (a *sessions) start(ctx context.Context, peer Peer, p []byte) (*session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if old := a.by[peer.Remote]; old != nil {
		if !old.running { // it waits, and so does its client
			old.request, old.peer, old.asked = append(old.request[:0], p...), peer, now
			a.makeRoom(now, a.clients[peer.Remote.Addr()])
			return nil, nil
		}
		if bytes.Equal(old.request, p) && old.goesOn() {
			return nil, errDuplicate
		}
		old.cancel(ErrSuperseded)
	}
	c := a.clients[peer.Remote.Addr()]
	if c == nil {
		c = &client{addr: peer.Remote.Addr()}
	}
	s := &session{all: a, peer: peer, request: bytes.Clone(p), asked: now}
	if a.n < a.max && c.n < a.perClient {
		a.run(ctx, s, c)
		return s, nil
	}
	if len(c.waiting) >= a.perClient || !a.crowdOut(c) {
		a.makeRoom(now, c) // for those that wait: the client asks again
		return nil, errBusy
	}
	if len(c.waiting) == 0 {
		a.turns.PushBack(c)
	}
	c.waiting = append(c.waiting, s)
	a.by[peer.Remote], a.clients[c.addr] = s, c
	a.waiting++
	a.makeRoom(now, c)
	return nil, nil
}

// run gives s a place. a.mu is held.
func (a *sessions) run(ctx context.Context, s *session, c *client) {
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.running, s.began = true, time.Now()
	s.unheard = a.unheard.PushBack(s)
	a.by[s.peer.Remote], a.clients[c.addr] = s, c
	a.n++
	c.n++
}

// makeRoom ends the transfers whose client was never heard, from the oldest, as many as requests wait, if there is no
// place and they are old enough. Where c alone has no place left, only its own count: whoever forges its address would
// keep it waiting. a.mu is held.
func (a *sessions) makeRoom(now time.Time, c *client) {
	wanted, of := a.waiting, (*client)(nil)
	if a.n < a.max {
		if c.n < a.perClient {
			return
		}
		wanted, of = len(c.waiting), c
	}
	for e := a.unheard.Front(); e != nil && wanted > 0; {
		s := e.Value.(*session)
		if now.Sub(s.began) < halfOpen {
			return
		}
		e = e.Next() // known takes s out
		if of == nil || s.peer.Remote.Addr() == of.addr {
			s.known()
			s.cancel(errHalfOpen)
			wanted--
		}
	}
}

// crowdOut forgets a request of the client that has the most in a queue that is full, if that is more than mine. It
// reports whether there is room. a.mu is held.
func (a *sessions) crowdOut(mine *client) bool {
	if a.waiting < a.max {
		return true
	}
	most, at := mine, (*list.Element)(nil)
	for e := a.turns.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*client); len(c.waiting) > len(most.waiting) {
			most, at = c, e
		}
	}
	if at == nil {
		return false
	}
	last := most.waiting[len(most.waiting)-1]
	most.waiting = most.waiting[:len(most.waiting)-1]
	a.waiting--
	delete(a.by, last.peer.Remote)
	if len(most.waiting) == 0 {
		a.turns.Remove(at)
		a.forget(most)
	}
	return true
}

// hear takes note that the client has answered.
func (s *session) hear(now time.Time) {
	if s.heard.Swap(max(1, int64(now.Sub(s.began)))) != 0 {
		return
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.known()
}

// known says that s is not half-open any more, or has ended. all.mu is held.
func (s *session) known() {
	if s.unheard != nil {
		s.all.unheard.Remove(s.unheard)
		s.unheard = nil
	}
}

// goesOn reports whether the client follows this transfer, or may be about to.
func (s *session) goesOn() bool {
	heard := s.heard.Load()
	return heard == 0 || time.Since(s.began)-time.Duration(heard) < quiet
}

// end gives the place back, and gives the session that has it now, if there is one.
func (s *session) end(ctx context.Context) (next *session) {
	s.cancel(nil)
	a := s.all
	a.mu.Lock()
	defer a.mu.Unlock()
	s.known()
	a.n--
	if a.by[s.peer.Remote] == s {
		delete(a.by, s.peer.Remote)
	}
	c := a.clients[s.peer.Remote.Addr()]
	c.n--
	a.forget(c)
	return a.next(ctx)
}

// forget lets go of a client that has nothing here. a.mu is held.
func (a *sessions) forget(c *client) {
	if c.n == 0 && len(c.waiting) == 0 {
		delete(a.clients, c.addr)
	}
}

// next gives a place to the request whose turn it is. a.mu is held.
func (a *sessions) next(ctx context.Context) *session {
	for range a.turns.Len() {
		e := a.turns.Front()
		c := e.Value.(*client)
		a.turns.MoveToBack(e)
		if c.n >= a.perClient {
			continue
		}
		for len(c.waiting) > 0 {
			s := c.waiting[0]
			c.waiting = c.waiting[1:]
			a.waiting--
			if time.Since(s.asked) < patient && ctx.Err() == nil {
				if len(c.waiting) == 0 {
					a.turns.Remove(e)
				}
				a.run(ctx, s, c)
				return s
			}
			delete(a.by, s.peer.Remote)
		}
		a.turns.Remove(e)
		a.forget(c)
	}
	return nil
}

// queued is how many requests wait.
func (a *sessions) queued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting
}

// dropReason is err of start in one word.
func dropReason(err error) string {
	if errors.Is(err, errBusy) {
		return "busy"
	}
	return "duplicate"
}
