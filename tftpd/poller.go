package tftpd

import (
	"container/heap"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// events is how many sockets are looked at together.
const events = 128

// poller hands packets and deadlines to the exchanges of all flows of a UDP, in one goroutine: a machine in the middle
// of its transfer costs no goroutine switch and no timer for every packet. The zero value is ready.
type poller struct {
	mu sync.Mutex // guards the rest, but for what the goroutine alone has
	// fd is an epoll of the flows' sockets and of wake, an eventfd; both are there once it is open.
	fd, wake int
	open     bool
	flows    []*udpFlow
	free     []int32
	count    int
	running  bool
	closed   bool
	// news are flows that were added or are to be dropped since the goroutine looked.
	news []news

	alarms alarms // the goroutine's
	now    time.Time
}

type news struct {
	flow *udpFlow
	drop bool
}

// add has the goroutine call f's exchange until that is done or hungry, or f is dropped. It closes f.ended then.
func (p *poller) add(f *udpFlow) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ensure(); err != nil {
		return err
	}
	p.count++
	p.tell(news{flow: f})
	if !p.running {
		p.running = true
		go p.run() // ends with the last flow
	}
	return nil
}

// drop ends f's stay, if it goes on. If it has ended, nobody may be left to be told, and the number of wake may be
// another file's by now.
func (p *poller) drop(f *udpFlow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-f.ended:
	default:
		p.tell(news{f, true})
	}
}

// tell leaves word for the goroutine. p.mu is held.
func (p *poller) tell(n news) {
	if p.news = append(p.news, n); len(p.news) == 1 {
		one := [8]byte{1}
		_, _ = unix.Write(p.wake, one[:])
	}
}

// ensure makes the epoll. p.mu is held.
func (p *poller) ensure() error {
	if p.open {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("tftpd: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("tftpd: eventfd: %w", errors.Join(err, unix.Close(fd)))
	}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		return fmt.Errorf("tftpd: epoll: %w", errors.Join(err, unix.Close(fd), unix.Close(wake)))
	}
	p.fd, p.wake, p.open = fd, wake, true
	return nil
}

// close gives the epoll back, now or with the last flow.
func (p *poller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if !p.running {
		p.shut()
	}
}

// shut closes the files. p.mu is held.
func (p *poller) shut() {
	if p.open {
		_, _ = unix.Close(p.fd), unix.Close(p.wake)
		p.open = false
	}
}

// run is the goroutine.
func (p *poller) run() {
	var ready [events]unix.EpollEvent
	packet := make([]byte, 512) // a client's; only ERROR texts are longer, and cut
	for {
		n := p.wait(ready[:])
		p.now = time.Now()
		for _, e := range ready[:n] {
			if e.Fd < 0 {
				continue // news, which are looked at in any case
			}
			if f := p.flows[e.Fd]; f != nil {
				f.receive(p.now, packet)
				p.look(f)
			}
		}
		p.expire()
		if !p.hearNews() {
			return
		}
	}
}

// wait waits for packets, news, or the next alarm. It waits in the kernel and not by the runtime's poller, which would
// be a detour through another thread: a third of the time and of the processor that a lock-step block takes.
func (p *poller) wait(ready []unix.EpollEvent) int {
	timeout := -1
	if len(p.alarms) > 0 {
		timeout = int(max(0, time.Until(p.alarms[0].alarm)+time.Millisecond-1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, ready, timeout)
	if err != nil { // EINTR
		return 0
	}
	return n
}

// expire calls those whose deadline has passed.
func (p *poller) expire() {
	for len(p.alarms) > 0 && !p.now.Before(p.alarms[0].alarm) {
		f := heap.Pop(&p.alarms).(*udpFlow)
		f.alarm = time.Time{}
		if f.slot < 0 {
			continue
		}
		if !p.now.Before(f.deadline) {
			f.exchange.Expire(p.now)
		}
		p.look(f)
	}
}

// look takes note of what f's exchange waits for.
func (p *poller) look(f *udpFlow) {
	st := f.exchange.State()
	if st.Done || st.Hungry {
		p.leave(f)
		return
	}
	f.deadline = st.Deadline
	// A deadline that is put off, as nearly all are, leaves the alarm as it is: it looks again when it rings.
	if f.alarm.IsZero() || f.deadline.Before(f.alarm) {
		p.alarms.set(f, f.deadline)
	}
}

// hearNews takes flows in and drops some; it returns false when none is left.
func (p *poller) hearNews() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.news) > 0 {
		var buf [8]byte
		_, _ = unix.Read(p.wake, buf[:])
	}
	for _, n := range p.news {
		switch {
		case n.drop && n.flow.slot >= 0:
			p.leaveLocked(n.flow)
		case !n.drop:
			p.enter(n.flow)
		}
	}
	clear(p.news)
	p.news = p.news[:0]
	if p.count > 0 {
		return true
	}
	p.running = false
	if p.closed {
		p.shut()
	}
	return false
}

// enter takes a flow in. p.mu is held.
func (p *poller) enter(f *udpFlow) {
	if n := len(p.free); n > 0 {
		f.slot, p.free = p.free[n-1], p.free[:n-1]
		p.flows[f.slot] = f
	} else {
		f.slot = int32(len(p.flows))
		p.flows = append(p.flows, f)
	}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, f.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: f.slot}); err != nil {
		f.exchange.Fail(fmt.Errorf("tftpd: epoll: %w", err))
		p.leaveLocked(f)
		return
	}
	f.deadline = f.exchange.State().Deadline
	p.alarms.set(f, f.deadline)
}

// leave lets a flow's own goroutine go on.
func (p *poller) leave(f *udpFlow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(f)
}

// leaveLocked is leave with p.mu held.
func (p *poller) leaveLocked(f *udpFlow) {
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, f.fd, nil)
	p.alarms.clear(f)
	p.flows[f.slot] = nil
	p.free = append(p.free, f.slot)
	f.slot = -1
	p.count--
	close(f.ended)
}
