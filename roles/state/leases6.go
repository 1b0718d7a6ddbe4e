package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"muster/dhcpd/lease6"
)

const lease6Bucket = "leases6"

// Leases6 is the index of all DHCPv6 leases. Read it; a lease that is applied to it directly is lost at the next
// start.
func (s *Store) Leases6() *lease6.Table { return &s.leases6 }

// CommitLeases6 is CommitLeases for DHCPv6: it deletes the leases of deletes, then puts, durable first. The error
// wraps fs.ErrInvalid for a lease without holder or IPv6 address.
func (s *Store) CommitLeases6(ctx context.Context, puts []lease6.Lease, deletes []lease6.Key) error {
	for _, l := range puts {
		if _, ok := lease6.ParseKey([]byte(l.Key)); !ok || !l.Addr.Is6() || l.Addr.Is4In6() {
			return &fault{fmt.Sprintf("state: lease of %s: address %q is not IPv6, or the holder is nobody", l.Key, l.Addr), fs.ErrInvalid}
		}
	}
	if len(puts)+len(deletes) == 0 {
		return nil
	}
	if err := s.commit.acquire(ctx); err != nil {
		return fmt.Errorf("state: lease commit was not begun: %w", err)
	}
	defer s.commit.release()
	if err := s.write("leases6", s.lease6Records(puts, deletes)); err != nil {
		return err
	}
	s.leases6.Apply(puts, deletes)
	return nil
}

// lease6Records is what Table.Apply will do, as records: the last change of each holder, and the removal of those
// whose address goes to another one.
func (s *Store) lease6Records(puts []lease6.Lease, deletes []lease6.Key) []Record {
	after := make(map[lease6.Key]*lease6.Lease, len(puts)+len(deletes)) // nil is deleted
	holders := make(map[netip.Addr]lease6.Key, len(puts))
	for _, k := range deletes {
		after[k] = nil
	}
	for i := range puts {
		l := &puts[i]
		a := l.Addr.WithZone("")
		if k, ok := holders[a]; ok && after[k] != nil && after[k].Addr == a {
			after[k] = nil
		} else if old, ok := s.leases6.ByAddr(a); ok {
			if _, changed := after[old.Key]; !changed {
				after[old.Key] = nil
			}
		}
		after[l.Key], holders[a] = l, l.Key
	}
	records := make([]Record, 0, len(after))
	for _, k := range slices.Sorted(maps.Keys(after)) {
		r := Record{Bucket: lease6Bucket, Key: []byte(k)}
		if l := after[k]; l != nil {
			r.Value = encodeLease6(*l)
		}
		records = append(records, r)
	}
	return records
}

func (s *Store) loadLeases6(records []Record) error {
	all := make([]lease6.Lease, 0, len(records))
	for _, r := range records {
		l, err := decodeLease6(r.Key, r.Value)
		if err != nil {
			return fmt.Errorf("state: stored DHCPv6 lease of %x: %w", r.Key, err)
		}
		all = append(all, l)
	}
	s.leases6.Apply(all, nil)
	return nil
}

// A DHCPv6 lease is stored under its key in 25 bytes: flags (bit 0: declined, bit 1: unknown), the address, and
// when it expires as Unix time in nanoseconds, signed, big-endian; the least number is no time.
const (
	lease6Size     = 1 + 16 + 8
	lease6Declined = 1 << 0
	lease6Unknown  = 1 << 1
)

func encodeLease6(l lease6.Lease) []byte {
	b := make([]byte, 1, lease6Size)
	if l.Declined {
		b[0] |= lease6Declined
	}
	if l.Unknown {
		b[0] |= lease6Unknown
	}
	a := l.Addr.As16()
	b = append(b, a[:]...)
	expires := int64(math.MinInt64)
	if !l.Expires.IsZero() {
		expires = l.Expires.UnixNano()
	}
	return binary.BigEndian.AppendUint64(b, uint64(expires))
}

func decodeLease6(key, b []byte) (l lease6.Lease, err error) {
	var ok bool
	switch l.Key, ok = lease6.ParseKey(key); {
	case !ok:
		return l, errors.New("the key names nobody")
	case len(b) != lease6Size:
		return l, errors.New("the record has not the length of one")
	case b[0]&^(lease6Declined|lease6Unknown) != 0:
		return l, errors.New("the record has unknown flags")
	}
	l.Declined, l.Unknown = b[0]&lease6Declined != 0, b[0]&lease6Unknown != 0
	l.Addr = netip.AddrFrom16([16]byte(b[1:17]))
	if l.Addr.Is4In6() {
		return l, errors.New("the address is not IPv6")
	}
	if n := int64(binary.BigEndian.Uint64(b[17:])); n != math.MinInt64 {
		l.Expires = time.Unix(0, n).UTC()
	}
	return l, nil
}
