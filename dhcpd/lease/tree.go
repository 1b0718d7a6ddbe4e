package lease

import (
	"math"
	"net/netip"
	"time"
)

// row is one lease and its node in a treap ordered by address: a binary tree that stays balanced because
// each node has a fixed pseudo-random priority. Every node knows the size and the oldest expiry of its
// subtree; that answers "lowest unused address" and "oldest expired in this range" without a scan, and
// without an index of its own for each.
type row struct {
	expires     int64 // nanoseconds of Unix time; math.MinInt64 is the zero time
	oldest      int64 // the least expires in this subtree
	host        string
	addr        uint32
	left, right uint32 // rows; 0 is none
	size        uint32 // of this subtree
	mac         MAC
	declined    bool
}

func (r *row) lease() Lease {
	l := Lease{MAC: r.mac, Addr: address(r.addr), Hostname: r.host, Declined: r.declined}
	if r.expires != math.MinInt64 {
		l.Expires = time.Unix(0, r.expires).UTC()
	}
	return l
}

// priority mixes the bits of an address (Fibonacci hashing), so that neighbours do not form a list.
func priority(a uint32) uint32 {
	a *= 0x9e3779b1
	a ^= a >> 15
	return a * 0x85ebca6b
}

// pull computes what row i says of its subtree from its children.
func (t *Table) pull(i uint32) {
	r := &t.rows[i]
	l, g := &t.rows[r.left], &t.rows[r.right]
	r.size = 1 + l.size + g.size
	r.oldest = min(r.expires, l.oldest, g.oldest)
}

func (t *Table) insert(at, i uint32) uint32 {
	if at == 0 {
		return i
	}
	r, n := &t.rows[at], &t.rows[i]
	switch {
	case priority(n.addr) > priority(r.addr):
		n.left, n.right = t.split(at, n.addr)
		t.pull(i)
		return i
	case n.addr < r.addr:
		r.left = t.insert(r.left, i)
	default:
		r.right = t.insert(r.right, i)
	}
	t.pull(at)
	return at
}

// split cuts a tree into the addresses below a and those from a on.
func (t *Table) split(at, a uint32) (below, rest uint32) {
	if at == 0 {
		return 0, 0
	}
	r := &t.rows[at]
	if r.addr < a {
		r.right, rest = t.split(r.right, a)
		below = at
	} else {
		below, r.left = t.split(r.left, a)
		rest = at
	}
	t.pull(at)
	return below, rest
}

// merge joins two trees of which every address of a is below every one of b.
func (t *Table) merge(a, b uint32) uint32 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	case priority(t.rows[a].addr) > priority(t.rows[b].addr):
		t.rows[a].right = t.merge(t.rows[a].right, b)
		t.pull(a)
		return a
	default:
		t.rows[b].left = t.merge(a, t.rows[b].left)
		t.pull(b)
		return b
	}
}

// remove takes the row of address a out of the tree, in which it must be.
func (t *Table) remove(at, a uint32) uint32 {
	r := &t.rows[at]
	switch {
	case a < r.addr:
		r.left = t.remove(r.left, a)
	case a > r.addr:
		r.right = t.remove(r.right, a)
	default:
		return t.merge(r.left, r.right)
	}
	t.pull(at)
	return at
}

// refresh computes the way from at down to address a again, after its expiry changed.
func (t *Table) refresh(at, a uint32) {
	switch r := &t.rows[at]; {
	case a < r.addr:
		t.refresh(r.left, a)
	case a > r.addr:
		t.refresh(r.right, a)
	}
	t.pull(at)
}

// walk calls f for every row from first to last, in order.
func (t *Table) walk(at, first, last uint32, f func(*row)) {
	if at == 0 {
		return
	}
	r := &t.rows[at]
	if r.addr > first {
		t.walk(r.left, first, last, f)
	}
	if r.addr >= first && r.addr <= last {
		f(r)
	}
	if r.addr < last {
		t.walk(r.right, first, last, f)
	}
}

// gap is the lowest number from first on that is no row's address. Of the rows from first on, the i-th has
// the address first+i as long as there is no gap, and never again after it: a binary search by rank.
func (t *Table) gap(first uint32) uint64 {
	dense := uint64(first) // all of first … dense-1 are taken
	for at := t.root; at != 0; {
		r := &t.rows[at]
		if r.addr < first {
			at = r.right
			continue
		}
		// All rows of the left subtree that are not below first lie between dense and r.addr.
		below := uint64(t.from(r.left, first))
		if uint64(r.addr) == dense+below {
			dense += below + 1
			at = r.right
		} else {
			at = r.left
		}
	}
	return dense
}

// from counts the rows of a subtree whose address is not below first.
func (t *Table) from(at, first uint32) uint32 {
	n := uint32(0)
	for at != 0 {
		r := &t.rows[at]
		if r.addr < first {
			at = r.right
			continue
		}
		n += 1 + t.rows[r.right].size
		at = r.left
	}
	return n
}

// search is what oldest looks for, and what it has found so far (0 for nothing).
type search struct {
	first, last uint32
	now         int64
	skip        func(netip.Addr) bool
	found       uint32
	best        int64
}

// oldest looks through a subtree in the order of addresses, but only where something older than the best so
// far can be.
func (t *Table) oldest(at uint32, s *search) {
	if at == 0 {
		return
	}
	r := &t.rows[at]
	if r.oldest > s.now || s.found != 0 && r.oldest >= s.best {
		return
	}
	if r.addr > s.first {
		t.oldest(r.left, s)
	}
	if r.addr >= s.first && r.addr <= s.last && r.expires <= s.now && (s.found == 0 || r.expires < s.best) &&
		(s.skip == nil || !s.skip(address(r.addr))) {
		s.found, s.best = at, r.expires
	}
	if r.addr < s.last {
		t.oldest(r.right, s)
	}
}
