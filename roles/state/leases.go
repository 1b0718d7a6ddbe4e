package state

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"

	"muster/dhcpd/lease"
)

const leaseBucket = "leases"

// Leases is the index of all leases. Read it; a lease that is applied to it directly is lost at the next
// start.
func (s *Store) Leases() *lease.Table { return &s.leases }

// CommitLeases deletes leases, then puts leases in their order: durable first, then visible in Leases,
// then it returns. A put replaces the lease that another MAC had of its address. One call is one backend
// commit; it waits for at most the commit that is under way and the ones that asked before, never for a
// closure of Update. After an error nothing has changed. The error wraps fs.ErrInvalid for an address that
// is not IPv4.
func (s *Store) CommitLeases(ctx context.Context, puts []lease.Lease, deletes []lease.MAC) error {
	for _, l := range puts {
		if !l.Addr.Unmap().Is4() {
			return &fault{fmt.Sprintf("state: lease of %s: address %q is not IPv4", l.MAC, l.Addr), fs.ErrInvalid}
		}
	}
	if len(puts)+len(deletes) == 0 {
		return nil
	}
	if err := s.commit.acquire(ctx); err != nil {
		return fmt.Errorf("state: lease commit was not begun: %w", err)
	}
	defer s.commit.release()
	if err := s.write("leases", s.leaseRecords(puts, deletes)); err != nil {
		return err
	}
	s.leases.Apply(puts, deletes)
	s.metrics.leases.Set(float64(s.leases.Len()))
	return nil
}

// leaseRecords is what Table.Apply will do, as records: the last change of each MAC, and the removal of
// those whose address goes to another one.
func (s *Store) leaseRecords(puts []lease.Lease, deletes []lease.MAC) []Record {
	after := make(map[lease.MAC]*lease.Lease, len(puts)+len(deletes)) // nil is deleted
	holders := make(map[netip.Addr]lease.MAC, len(puts))
	for _, m := range deletes {
		after[m] = nil
	}
	for i := range puts {
		l := &puts[i]
		a := l.Addr.Unmap()
		if m, ok := holders[a]; ok && after[m] != nil && after[m].Addr.Unmap() == a {
			after[m] = nil
		} else if old, ok := s.leases.ByAddr(a); ok {
			if _, changed := after[old.MAC]; !changed {
				after[old.MAC] = nil
			}
		}
		after[l.MAC], holders[a] = l, l.MAC
	}
	records := make([]Record, 0, len(after))
	// In the order of keys, which a B+tree takes best.
	for _, m := range slices.SortedFunc(maps.Keys(after), compareMACs) {
		l := after[m]
		r := Record{Bucket: leaseBucket, Key: keyOf(m)}
		if l != nil {
			r.Value = encodeLease(*l)
		}
		records = append(records, r)
	}
	return records
}

func compareMACs(a, b lease.MAC) int { return bytes.Compare(a[:], b[:]) }

func (s *Store) loadLeases(records []Record) error {
	all := make([]lease.Lease, 0, len(records))
	for _, r := range records {
		l, err := decodeLease(r.Key, r.Value)
		if err != nil {
			return fmt.Errorf("state: stored lease of %x: %w", r.Key, err)
		}
		all = append(all, l)
	}
	s.leases.Apply(all, nil)
	s.metrics.leases.Set(float64(len(all)))
	return nil
}
