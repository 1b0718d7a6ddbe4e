package roles

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestParseAddressRange(t *testing.T) {
	for _, c := range []struct {
		in, out string
		n       int
	}{
		{"10.77.0.20-10.77.0.39", "10.77.0.20-10.77.0.39", 20},
		{" 10.77.0.20 - 10.77.0.20 ", "10.77.0.20", 1},
		{"10.77.0.20", "10.77.0.20", 1},
		{"0.0.0.0-255.255.255.255", "0.0.0.0-255.255.255.255", 1 << 32},
		{"10.77.0.39-10.77.0.20", "", 0},
		{"10.77.0.20-", "", 0},
		{"-10.77.0.20", "", 0},
		{"10.77.0.20-29", "", 0},
		{"10.77.0.0/24", "", 0},
		{"fd00::1-fd00::9", "", 0},
		{"::ffff:10.77.0.1", "", 0},
		{"", "", 0},
	} {
		r, err := ParseAddressRange(c.in)
		if (err == nil) != (c.out != "") || r.String() != c.out || r.Len() != c.n {
			t.Errorf("%q: %s with %d addresses, %v; want %q with %d", c.in, r, r.Len(), err, c.out, c.n)
		}
	}
}

// TestAddressRange compares ranges of any size and place with what they mean.
func TestAddressRange(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() AddressRange {
		first := rnd.Uint32()
		if rnd.IntN(4) == 0 {
			first = 1<<32 - 1 - rnd.Uint32N(64) // the end of all addresses
		}
		size := rnd.Uint32N(1 << rnd.IntN(17))
		return AddressRange{addr(first), addr(first + min(size, 1<<32-1-first))}
	}
	for range 3000 {
		r := random()
		next := uint64(num(r.First))
		prefixes := r.Prefixes()
		for i, p := range prefixes {
			if uint64(num(p.Addr())) != next || p.Masked() != p {
				t.Fatalf("%s: %v does not go on where the one before ends", r, prefixes)
			}
			next += 1 << (32 - p.Bits())
			// Two halves of one network would be one prefix too many.
			if i > 0 && prefixes[i-1].Bits() == p.Bits() && netip.PrefixFrom(prefixes[i-1].Addr(), p.Bits()-1).Masked().Contains(p.Addr()) {
				t.Fatalf("%s: %s and %s are one network", r, prefixes[i-1], p)
			}
		}
		if next != uint64(num(r.Last))+1 {
			t.Fatalf("%s: %v ends before %s", r, prefixes, addr(uint32(next)))
		}
		o := random()
		if rnd.IntN(2) == 0 { // close to r
			o.First = addr(num(r.First) + uint32(rnd.IntN(max(1, r.Len()))))
			if o.Last.Less(o.First) {
				o.Last = o.First
			}
		}
		shared := max(num(r.First), num(o.First)) <= min(num(r.Last), num(o.Last))
		if r.Overlaps(o) != shared || o.Overlaps(r) != shared {
			t.Fatalf("%s and %s overlap: %v, want %v", r, o, r.Overlaps(o), shared)
		}
		if r.At(0) != r.First || r.At(r.Len()-1) != r.Last || r.At(-1).IsValid() || r.At(r.Len()).IsValid() {
			t.Fatalf("%s: the ends are %s and %s", r, r.At(0), r.At(r.Len()-1))
		}
		if !r.Contains(r.First) || !r.Contains(r.Last) || r.Contains(o.First) != (num(o.First) >= num(r.First) && num(o.First) <= num(r.Last)) {
			t.Fatalf("%s contains the wrong ones", r)
		}
		text, _ := r.MarshalText()
		var back AddressRange
		if err := back.UnmarshalText(text); err != nil || back != r {
			t.Fatalf("%s is read back as %s, %v", r, back, err)
		}
	}
	var zero AddressRange
	if zero.Len() != 0 || zero.Prefixes() != nil || zero.At(0).IsValid() || zero.Contains(netip.Addr{}) || zero.Overlaps(zero) || zero.String() != "" {
		t.Error("the zero range is not empty")
	}
}
