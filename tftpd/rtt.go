package tftpd

import "time"

// minTimeout is the shortest time in which an answer is missed: firmware that writes to flash, or a busy hypervisor,
// pauses for tens of milliseconds without having lost anything.
const minTimeout = 100 * time.Millisecond

// rtt is what is known of the time from a window to its acknowledgement, as RFC 6298 §2 reckons it.
type rtt struct {
	smooth, variance time.Duration
	// least is the shortest; 0 before the first.
	least time.Duration
}

// sample takes note of one.
func (r *rtt) sample(d time.Duration) {
	d = max(d, 1)
	if r.least == 0 {
		r.smooth, r.variance, r.least = d, d/2, d
		return
	}
	r.variance += ((r.smooth - d).Abs() - r.variance) / 4
	r.smooth += (d - r.smooth) / 8
	r.least = min(r.least, d)
}

// timeout is when an answer has become unlikely; 0 means that nothing is known yet.
func (r *rtt) timeout() time.Duration {
	if r.least == 0 {
		return 0
	}
	return max(minTimeout, r.smooth+4*r.variance)
}
