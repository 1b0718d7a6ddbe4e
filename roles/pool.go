package roles

import (
	"fmt"
	"net/netip"
	"strings"
)

// Pool is a set of interchangeable nodes of one role.
type Pool struct {
	// Name is unique, a DNS label; its slots are called name-01, name-02, …
	Name string `yaml:"name" json:"name"`
	// Role names the role of every node in the pool.
	Role string `yaml:"role" json:"role"`
	// Size bounds the pool.
	Size Size `yaml:"size,omitempty" json:"size,omitzero"`
	// Addresses are the slots' addresses, in order: slot 1 has the first.
	Addresses AddressRange `yaml:"addresses" json:"addresses"`
	// Match says which unknown machines may join; nil means none: only assigned nodes do.
	Match *Match `yaml:"match,omitempty" json:"match,omitempty"`
	// Priority orders pools that match the same machine: the higher goes first.
	Priority int `yaml:"priority,omitempty" json:"priority,omitempty"`
	// Image pins a version ("web:7"); empty means the current version of the role's image.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Vars are values for the files of the pool's nodes; they override the role's one by one.
	Vars Vars `yaml:"vars,omitempty" json:"vars,omitempty"`
	// Takeover is how long an occupant must have been failed before an unknown machine may take its
	// slot; zero means 30 s.
	Takeover Duration `yaml:"takeover,omitempty" json:"takeover,omitzero"`
	// Pair makes the pool a storage pair of two slots; nil means that it is none.
	Pair *PairSpec `yaml:"pair,omitempty" json:"pair,omitempty"`
	// Storage names the pool that is the storage pair of this one's nodes: their roots, volumes and state
	// directories are mounted from there. Empty means this boot server.
	Storage string `yaml:"storage,omitempty" json:"storage,omitempty"`
}

// Size bounds a pool.
type Size struct {
	// Min is how many nodes the pool should never be below; pools below it are filled first.
	Min int `yaml:"min,omitempty" json:"min"`
	// Max is the number of slots; zero means as many as there are addresses.
	Max int `yaml:"max,omitempty" json:"max"`
}

// Slots is the number of slots of the pool.
func (p Pool) Slots() int {
	if p.Size.Max > 0 {
		return p.Size.Max
	}
	return p.Addresses.Len()
}

// SlotName is the name of slot n (from 1), which is also the hostname of its occupant: web-03.
func (p Pool) SlotName(n int) string { return fmt.Sprintf("%s-%02d", p.Name, n) }

// Match is a rule over what is known of a machine. Every field that is set must match; a list matches
// when one of its entries does. Patterns are those of path.Match, compared without case.
type Match struct {
	// Arch is the processor: x86_64, i386, arm64.
	Arch []string `yaml:"arch,omitempty" json:"arch,omitempty"`
	// Firmware is bios or uefi.
	Firmware []string `yaml:"firmware,omitempty" json:"firmware,omitempty"`
	// MAC patterns: "52:54:00:aa:*".
	MAC []string `yaml:"mac,omitempty" json:"mac,omitempty"`
	// UUID patterns over the SMBIOS UUID.
	UUID []string `yaml:"uuid,omitempty" json:"uuid,omitempty"`
	// Manufacturer, Product, Serial: patterns over SMBIOS.
	Manufacturer []string `yaml:"manufacturer,omitempty" json:"manufacturer,omitempty"`
	Product      []string `yaml:"product,omitempty" json:"product,omitempty"`
	Serial       []string `yaml:"serial,omitempty" json:"serial,omitempty"`
	// Subnet: the machine asked from one of these subnets.
	Subnet []netip.Prefix `yaml:"subnet,omitempty" json:"subnet,omitempty"`
	// Circuit and Remote are patterns over the relay agent's circuit-id and remote-id (option 82).
	Circuit []string `yaml:"circuit,omitempty" json:"circuit,omitempty"`
	Remote  []string `yaml:"remote,omitempty" json:"remote,omitempty"`
	// Labels must all be on the node with these values.
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
	// MemoryMin is the least memory in MiB; known only at hello.
	MemoryMin int `yaml:"memoryMin,omitempty" json:"memoryMin,omitempty"`
	// CPUMin is the least number of processors; known only at hello.
	CPUMin int `yaml:"cpuMin,omitempty" json:"cpuMin,omitempty"`
}

// AddressRange is an inclusive range of addresses, written first-last.
type AddressRange struct{ First, Last netip.Addr }

// ParseAddressRange reads "10.77.0.20-10.77.0.39", or one address.
func ParseAddressRange(s string) (AddressRange, error) {
	a, b, two := strings.Cut(s, "-")
	first, err := netip.ParseAddr(strings.TrimSpace(a))
	if err != nil {
		return AddressRange{}, fmt.Errorf("%q is not a range of addresses (want first-last)", s)
	}
	last := first
	if two {
		if last, err = netip.ParseAddr(strings.TrimSpace(b)); err != nil {
			return AddressRange{}, fmt.Errorf("%q is not a range of addresses (want first-last)", s)
		}
	}
	if !first.Is4() || !last.Is4() {
		return AddressRange{}, fmt.Errorf("%q: only IPv4 ranges", s)
	}
	if last.Less(first) {
		return AddressRange{}, fmt.Errorf("%q: the last address is before the first", s)
	}
	return AddressRange{first, last}, nil
}

// Len is the number of addresses in r.
func (r AddressRange) Len() int {
	if !r.First.IsValid() {
		return 0
	}
	return int(num(r.Last)-num(r.First)) + 1
}

// At gives the i-th address, from 0; it is invalid outside of the range.
func (r AddressRange) At(i int) netip.Addr {
	if i < 0 || i >= r.Len() {
		return netip.Addr{}
	}
	return addr(num(r.First) + uint32(i))
}

// Contains reports whether a lies in r.
func (r AddressRange) Contains(a netip.Addr) bool {
	return r.First.IsValid() && a.Is4() && !a.Less(r.First) && !r.Last.Less(a)
}

// Overlaps reports whether r and o share an address.
func (r AddressRange) Overlaps(o AddressRange) bool {
	return r.Contains(o.First) || o.Contains(r.First)
}

// Prefixes covers exactly the addresses of r with as few networks as possible.
func (r AddressRange) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	if !r.First.IsValid() {
		return nil
	}
	for at, last := uint64(num(r.First)), uint64(num(r.Last)); at <= last; {
		bits := 32
		for bits > 0 {
			size := uint64(1) << (32 - bits + 1)
			if at%size != 0 || at+size-1 > last {
				break
			}
			bits--
		}
		out = append(out, netip.PrefixFrom(addr(uint32(at)), bits))
		at += 1 << (32 - bits)
	}
	return out
}

// String is the form that ParseAddressRange reads; empty for the zero range.
func (r AddressRange) String() string {
	if !r.First.IsValid() {
		return ""
	}
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r AddressRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text is the zero range.
func (r *AddressRange) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = AddressRange{}
		return nil
	}
	v, err := ParseAddressRange(string(b))
	*r = v
	return err
}

func num(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
