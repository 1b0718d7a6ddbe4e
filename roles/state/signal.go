package state

import "sync"

// signal tells the waiting that the revision has risen.
type signal struct {
	mu       sync.Mutex // guards all below
	revision uint64
	next     chan struct{} // closed at the next raise; nil while nobody waits
}

// risen is what those get who are behind already.
var risen = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// above returns a channel that is closed as soon as the revision is above rev.
func (s *signal) above(rev uint64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision > rev {
		return risen
	}
	if s.next == nil {
		s.next = make(chan struct{})
	}
	return s.next
}

func (s *signal) raise(rev uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = rev
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}
