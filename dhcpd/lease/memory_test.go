package lease

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// TestMemory holds the budget of a lease: 400 bytes of heap, its host name included.
func TestMemory(t *testing.T) {
	const n, budget = 200_000, 400
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	table := new(Table)
	expires := time.Now().Add(time.Hour)
	for i := range n {
		b := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		table.Apply([]Lease{{MAC: MAC{2, 0, b[0], b[1], b[2], b[3]}, Addr: netip.AddrFrom4(b), Expires: expires, Hostname: fmt.Sprintf("machine-%06d", i)}}, nil)
	}
	each := (heap() - before) / n
	runtime.KeepAlive(table)
	t.Logf("%d bytes of heap for each of %d leases", each, n)
	if each > budget {
		t.Errorf("%d bytes of heap for each lease, the budget is %d", each, budget)
	}
}
