package dhcp6

import "time"

// The limits for unknown machines, unless Server says otherwise.
const (
	// maxUnknown is how many may have a lease: a hall of racks, at some 200 bytes each.
	maxUnknown = 4096
	// unknownRate is how many a second may get their first one, after a burst of unknownBurst: more machines than
	// are switched on at once, and few enough that the disk has time for the known ones.
	unknownRate  = 50
	unknownBurst = 500
)

// bucket is a token bucket of one subnet's unknown machines.
type bucket struct {
	tokens float64
	filled time.Time
}

// take takes a token; false if there is none.
func (b *bucket) take(now time.Time, rate float64) bool {
	if b.filled.IsZero() {
		b.tokens = rate * unknownBurst / unknownRate
	} else {
		b.tokens = min(b.tokens+max(0, now.Sub(b.filled).Seconds())*rate, rate*unknownBurst/unknownRate)
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
