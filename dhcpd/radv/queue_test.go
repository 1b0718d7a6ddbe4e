package radv

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"muster/dhcpd/lease"
)

func TestQueue(t *testing.T) {
	q, start := queue{}, time.Unix(1000, 0)
	if !q.next().IsZero() {
		t.Error("an empty queue has something due")
	}
	q.add(machineAddr, machine, start)
	due := q.next()
	if due.Before(start) || !due.Before(start.Add(maxDelay)) {
		t.Errorf("due %s after the solicitation, want less than %s", due.Sub(start), maxDelay)
	}
	q.add(machineAddr, lease.MAC{}, start.Add(time.Minute))
	if got := q.next(); got != due {
		t.Errorf("a repeated solicitation moved the answer by %s", got.Sub(due))
	}
	var got []lease.MAC
	take := func(_ netip.Addr, mac lease.MAC) { got = append(got, mac) }
	q.take(due.Add(-1), take)
	if len(got) != 0 {
		t.Error("an answer went out before its time")
	}
	q.take(due, take)
	q.take(due.Add(time.Hour), take)
	if len(got) != 1 || got[0] != machine {
		t.Errorf("answers %v, want one, to %s", got, machine)
	}
}

func TestQueueIsBounded(t *testing.T) {
	q, start, a := queue{}, time.Unix(1000, 0), machineAddr.As16()
	for i := range 2 * maxWaiting {
		binary.BigEndian.PutUint32(a[12:], uint32(i))
		if ok := q.add(netip.AddrFrom16(a), machine, start); ok != (i < maxWaiting) {
			t.Fatalf("answer %d: %v", i, ok)
		}
	}
	n := 0
	q.take(start.Add(maxDelay), func(netip.Addr, lease.MAC) { n++ })
	if n != maxWaiting || len(q) != 0 {
		t.Errorf("%d answers, and %d stay", n, len(q))
	}
}
