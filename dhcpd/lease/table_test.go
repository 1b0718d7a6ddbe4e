package lease

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	same  = cmpopts.EquateComparable(netip.Addr{})
)

func mac(n int) MAC { return MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestTable(t *testing.T) {
	a := Lease{MAC: mac(1), Addr: ip("10.0.0.1"), Expires: epoch.Add(time.Hour), Hostname: "web-01"}
	b := Lease{MAC: mac(2), Addr: ip("10.0.0.2"), Expires: epoch.Add(2 * time.Hour)}
	moved := Lease{MAC: mac(1), Addr: ip("10.0.0.9"), Expires: epoch.Add(3 * time.Hour)}
	taken := Lease{MAC: mac(3), Addr: ip("10.0.0.2"), Expires: epoch.Add(4 * time.Hour)}
	never := Lease{MAC: mac(4), Addr: ip("10.0.0.4")}
	declined := Lease{MAC: Quarantine(ip("10.0.0.7")), Addr: ip("10.0.0.7"), Expires: epoch, Declined: true}
	for _, tt := range []struct {
		name    string
		puts    []Lease
		deletes []MAC
		want    []Lease
	}{
		{"empty", nil, nil, []Lease{}},
		{"two", []Lease{b, a}, nil, []Lease{a, b}},
		{"a MAC moves", []Lease{a, b, moved}, nil, []Lease{b, moved}},
		{"an address changes hands", []Lease{a, b, taken}, nil, []Lease{a, taken}},
		{"deletes come first", []Lease{a, b}, []MAC{mac(1)}, []Lease{a, b}},
		{"zero expiry", []Lease{never}, nil, []Lease{never}},
		{"quarantine", []Lease{a, declined}, nil, []Lease{a, declined}},
		{"not IPv4", []Lease{{MAC: mac(5), Addr: ip("fd00::1")}, {MAC: mac(6)}}, nil, []Lease{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var table Table
			table.Apply(tt.puts, tt.deletes)
			if d := cmp.Diff(tt.want, table.All(), same); d != "" {
				t.Errorf("leases (-want +got):\n%s", d)
			}
			if got := table.Len(); got != len(tt.want) {
				t.Errorf("Len = %d, want %d", got, len(tt.want))
			}
		})
	}
}

// TestModel compares a table with a plain list over many random changes and questions.
func TestModel(t *testing.T) {
	const macs, first, size = 60, 100, 48
	rnd := rand.New(rand.NewPCG(1, 2))
	var table Table
	model := map[MAC]Lease{}
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(first + n)}) }
	for range 20000 {
		m := mac(rnd.IntN(macs))
		if rnd.IntN(4) == 0 {
			table.Apply(nil, []MAC{m})
			delete(model, m)
		} else {
			l := Lease{MAC: m, Addr: at(rnd.IntN(size)), Expires: epoch.Add(time.Duration(rnd.IntN(100)) * time.Second)}
			table.Apply([]Lease{l}, nil)
			for k, v := range model {
				if v.Addr == l.Addr {
					delete(model, k)
				}
			}
			model[m] = l
		}
		lo := rnd.IntN(size)
		hi := lo + rnd.IntN(size-lo)
		now := epoch.Add(time.Duration(rnd.IntN(100)) * time.Second)
		skip := at(rnd.IntN(size))
		checkModel(t, &table, model, at(lo), at(hi), now, skip)
		if t.Failed() {
			return
		}
	}
}

func checkModel(t *testing.T, table *Table, model map[MAC]Lease, lo, hi netip.Addr, now time.Time, skip netip.Addr) {
	t.Helper()
	byAddr := map[netip.Addr]Lease{}
	for m, l := range model {
		byAddr[l.Addr] = l
		if got, ok := table.ByMAC(m); !ok || got != l {
			t.Fatalf("ByMAC(%s) = %v, %v, want %v", m, got, ok, l)
		}
	}
	if table.Len() != len(model) {
		t.Fatalf("Len = %d, want %d", table.Len(), len(model))
	}
	var unused netip.Addr
	var oldest Lease
	active := 0
	for a := lo; !hi.Less(a); a = a.Next() {
		l, ok := byAddr[a]
		if got, found := table.ByAddr(a); found != ok || got != l {
			t.Fatalf("ByAddr(%s) = %v, %v, want %v, %v", a, got, found, l, ok)
		}
		switch {
		case !ok && !unused.IsValid():
			unused = a
		case ok && l.Active(now):
			active++
		case ok && a != skip && (!oldest.Addr.IsValid() || l.Expires.Before(oldest.Expires)):
			oldest = l
		}
	}
	if got, ok := table.Unused(lo, hi); got != unused || ok != unused.IsValid() {
		t.Errorf("Unused(%s, %s) = %s, %v, want %s", lo, hi, got, ok, unused)
	}
	if got := table.Active(lo, hi, now); got != active {
		t.Errorf("Active(%s, %s) = %d, want %d", lo, hi, got, active)
	}
	got, ok := table.OldestExpired(lo, hi, now, func(a netip.Addr) bool { return a == skip })
	if got != oldest || ok != oldest.Addr.IsValid() {
		t.Errorf("OldestExpired(%s, %s) = %v, %v, want %v", lo, hi, got, ok, oldest)
	}
}

func TestUnusedAtTheEnd(t *testing.T) {
	var table Table
	last := ip("255.255.255.255")
	if got, ok := table.Unused(last, last); !ok || got != last {
		t.Errorf("empty table: Unused = %s, %v, want %s", got, ok, last)
	}
	table.Apply([]Lease{{MAC: mac(1), Addr: last}}, nil)
	if got, ok := table.Unused(last, last); ok {
		t.Errorf("full: Unused = %s, want none", got)
	}
	if _, ok := (&Table{}).OldestExpired(last, last, epoch, nil); ok {
		t.Error("OldestExpired found something in an empty table")
	}
}

func TestConcurrent(t *testing.T) {
	var table Table
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() { // ends after its leases
			for i := range 500 {
				a := netip.AddrFrom4([4]byte{10, byte(w), byte(i >> 8), byte(i)})
				table.Apply([]Lease{{MAC: mac(w<<12 | i), Addr: a, Expires: epoch}}, nil)
				table.ByAddr(a)
				table.Unused(ip("10.0.0.0"), ip("10.9.0.0"))
			}
		})
	}
	wg.Wait()
	if table.Len() != 2000 {
		t.Errorf("Len = %d, want 2000", table.Len())
	}
	if !slices.IsSortedFunc(table.All(), func(a, b Lease) int { return a.Addr.Compare(b.Addr) }) {
		t.Error("All is not in the order of addresses")
	}
}

// TestMemory holds the heap that one lease costs below the budget of 400 bytes.
func TestMemory(t *testing.T) {
	const n = 100_000
	table := new(Table)
	before := heap()
	for i := range n {
		table.Apply([]Lease{{MAC: mac(i), Addr: address(10<<24 + uint32(i)), Expires: epoch}}, nil)
	}
	each := float64(heap()-before) / n
	t.Logf("%.0f bytes for each lease", each)
	if each > 400 {
		t.Errorf("%.0f bytes for each lease, want at most 400", each)
	}
	runtime.KeepAlive(table)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkRenew(b *testing.B) {
	var table Table
	const n = 200_000
	for i := range n {
		table.Apply([]Lease{{MAC: mac(i), Addr: address(10<<24 + uint32(i)), Expires: epoch}}, nil)
	}
	b.ReportAllocs()
	puts := make([]Lease, 1)
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % n
		puts[0] = Lease{MAC: mac(k), Addr: address(10<<24 + uint32(k)), Expires: epoch.Add(time.Duration(i))}
		table.Apply(puts, nil)
	}
}
