package rack

import "runtime"

// starter runs functions on one operating-system thread that lives as long as the rack. The signal by which
// the kernel ends a child with its parent (PR_SET_PDEATHSIG) is tied to the thread that forked, not to the
// process: a machine started from a thread that the runtime retires would die with it.
type starter struct {
	work chan func()
	done chan struct{}
}

// newStarter starts the thread. Its goroutine ends at close.
func newStarter() *starter {
	s := &starter{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// do runs f on the thread and returns its error. It must not be called after close.
func (s *starter) do(f func() error) error {
	result := make(chan error)
	s.work <- func() { result <- f() }
	return <-result
}

func (s *starter) close() {
	close(s.work)
	<-s.done
}
