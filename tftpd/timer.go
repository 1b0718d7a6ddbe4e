package tftpd

import "time"

// timer is when a window is sent again. Two clocks run: the schedule, which doubles and ends with the client being
// given up, and before its first step the path's own round trip (RFC 1123 §4.2.3.2, an adaptive timeout), so that a
// packet that was lost on a fast network is not waited for as long as firmware may need to answer at all.
type timer struct {
	// at is the schedule's next step, short the round trip's, more when the rest of a window may be sent; zero
	// means none.
	at, short, more time.Time
	// sent is when the window was first sent, tries how many steps of the schedule have passed, sendings how often
	// the window was sent again.
	sent            time.Time
	tries, sendings int
	shorts          int
	wait            time.Duration // of the schedule's step
}

// begin starts the schedule.
func (t *timer) begin(now time.Time, wait time.Duration) {
	*t = timer{at: now.Add(wait), sent: now, wait: wait}
}

// restart begins the schedule's step again, as the client has asked for the window.
func (t *timer) restart(now time.Time) {
	t.at, t.sent, t.shorts = now.Add(t.wait), now, 0
	t.sendings++
}

// soon is set when the window has been sent and an answer within d is likely; zero means that nobody knows.
func (t *timer) soon(now time.Time, d time.Duration) {
	t.short = time.Time{}
	if d <= 0 {
		return
	}
	t.short = now.Add(d << t.shorts)
	t.shorts++
}

// again goes on to the next step of the schedule.
func (t *timer) again(now time.Time, wait time.Duration) {
	t.tries++
	t.sendings++
	t.at, t.short, t.wait = now.Add(wait), time.Time{}, wait
}

// next is the first of the three.
func (t *timer) next() time.Time {
	at := t.at
	for _, other := range [...]time.Time{t.short, t.more} {
		if !other.IsZero() && other.Before(at) {
			at = other
		}
	}
	return at
}

func (t *timer) pause(now time.Time) bool { return passed(now, t.more) }
func (t *timer) due(now time.Time) bool   { return passed(now, t.at) }
func (t *timer) early(now time.Time) bool { return passed(now, t.short) }

func passed(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }
