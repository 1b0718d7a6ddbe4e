package radv

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"muster/dhcpd/lease"
)

const (
	// maxDelay is MAX_RA_DELAY_TIME (RFC 4861 §6.2.6, §10): answers must be delayed by a random time up to it,
	// so that all routers of a link do not answer at once.
	maxDelay = 500 * time.Millisecond
	// minBetween is MIN_DELAY_BETWEEN_RAS (RFC 4861 §10), for those that all nodes hear.
	minBetween = 3 * time.Second
	// maxWaiting bounds the answers of one interface that wait, and with them how many are sent: 2,000 a
	// second, more than a rack that is switched on at once needs, for its machines repeat themselves.
	maxWaiting = 1000
)

// allNodes is everybody on the link (RFC 4291 §2.7.1).
var allNodes = netip.IPv6LinkLocalAllNodes()

// waiting is an answer that is not sent yet.
type waiting struct {
	mac lease.MAC
	due time.Time
}

// queue holds the answers that wait, by whom they go to: however often a machine solicits meanwhile, it gets
// one.
type queue map[netip.Addr]waiting

// add puts an answer off by a random time; it returns false if there are too many.
func (q queue) add(to netip.Addr, mac lease.MAC, now time.Time) bool {
	if _, ok := q[to]; ok {
		return true
	}
	if len(q) >= maxWaiting {
		return false
	}
	q[to] = waiting{mac, now.Add(rand.N(maxDelay))}
	return true
}

// next is when the first answer is due; zero for none.
func (q queue) next() (at time.Time) {
	for _, w := range q {
		if at.IsZero() || w.due.Before(at) {
			at = w.due
		}
	}
	return at
}

// take calls f with what is due, and forgets it.
func (q queue) take(now time.Time, f func(to netip.Addr, mac lease.MAC)) {
	for to, w := range q {
		if !w.due.After(now) {
			delete(q, to)
			f(to, w.mac)
		}
	}
}
