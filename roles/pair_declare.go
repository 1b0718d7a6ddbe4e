package roles

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// validateStorage reports what is wrong with the pool's pair and storage, as far as the pool alone shows it.
func (p Pool) validateStorage(fault reporter) {
	if p.Storage != "" {
		switch {
		case p.Storage == p.Name:
			fault("storage", "a pool cannot be its own storage")
		case p.Pair != nil:
			fault("storage", "a storage pair has none itself: its machines run from RAM, and own their disks")
		case !labelRE.MatchString(p.Storage):
			fault("storage", "%q is not a pool's name", p.Storage)
		}
	}
	if p.Pair == nil {
		return
	}
	if n := p.Slots(); n != 2 {
		fault("pair", "a storage pair has exactly two slots, not %d: size: {min: 2, max: 2}", n)
	}
	switch a := p.Pair.Address; {
	case !a.IsValid():
		fault("pair.address", "is missing: the address that floats between both machines")
	case !a.Is4():
		fault("pair.address", "%s: only IPv4", a)
	case p.Addresses.Contains(a):
		fault("pair.address", "%s is one of the slots' (%s); it floats between them, and is neither's", a, p.Addresses)
	}
	p.Pair.Disk.validate(fault)
	if p.Pair.BackupAge < 0 {
		fault("pair.backupAge", "cannot be negative")
	}
}

func (r DiskRule) validate(fault reporter) {
	if r == (DiskRule{}) {
		fault("pair.disk", "is missing: which disk is the pair's is never guessed (want path, serial or sizeMin)")
	}
	if r.Path != "" && (!strings.HasPrefix(r.Path, "/dev/") || path.Clean(r.Path) != r.Path) {
		fault("pair.disk.path", "%q is not a device (want /dev/disk/by-path/…)", r.Path)
	}
	if _, err := path.Match(r.Serial, ""); err != nil {
		fault("pair.disk.serial", "the pattern %q is malformed", r.Serial)
	}
	switch {
	case r.SizeMin < 0:
		fault("pair.disk.sizeMin", "cannot be negative")
	case math.IsNaN(r.SizeMin), math.IsInf(r.SizeMin, 1):
		fault("pair.disk.sizeMin", "%v is no size (want GiB)", r.SizeMin)
	}
}

// pair looks at what a pool's change does to its storage pair.
func (a *applier) pair(old, p Pool) error {
	if old.Pair == nil {
		return nil
	}
	if p.Pair == nil {
		for s := range a.tx.SlotsOf(old.Name) {
			if !s.Node.IsZero() {
				a.fault("pools", p.Name, "pair", "cannot be taken away: %s occupies %s; release it first", s.Node, s.Name)
				return nil
			}
		}
		return a.forgetPair(old)
	}
	if pairOf(a.tx, p.Name).Made.IsZero() || old.Pair.Address == p.Pair.Address {
		return nil
	}
	for s := range a.tx.SlotsOf(old.Name) {
		// A pause, or a server that has just begun to listen, is no reason to believe that it does not.
		if n, ok := a.tx.Nodes().Get(s.Node); ok && a.Registry.staysHalf(a.tx, n, a.now) != nil {
			a.fault("pools", p.Name, "pair.address", "cannot be changed from %s to %s while the pair serves, or may: nodes mount from it; switch both machines off first",
				old.Pair.Address, p.Pair.Address)
			break
		}
	}
	return nil
}

// forgetPair forgets what is known of the pair of a pool that is none any more.
func (a *applier) forgetPair(p Pool) error {
	pair, ok := a.tx.Pairs().Get(p.Name)
	if !ok {
		return nil
	}
	var disks []string
	for _, d := range pair.Disks {
		disks = append(disks, d.Serial)
	}
	if len(disks) > 0 {
		slices.Sort(disks)
		c := &a.changes[len(a.changes)-1]
		c.Note = fmt.Sprintf("what is known of the storage pair is forgotten; what is on its disks (%s) stays, but they are strangers then: "+
			"a new pair takes them only by muster storage claim, which erases them", strings.Join(disks, ", "))
	}
	return a.tx.Pairs().Delete(p.Name)
}

// checkStorage looks at storage pairs, and at who uses them, in the rack as it would be.
func (a *applier) checkStorage(d Declaration) {
	all := map[string]Pool{}
	for p := range a.tx.Pools().All() {
		all[p.Name] = p
	}
	named := func(name string) bool {
		return slices.ContainsFunc(d.Pools, func(p Pool) bool { return p.Name == name })
	}
	for p := range a.tx.Pools().All() {
		if p.Pair != nil {
			a.checkPair(p)
		}
		target, ok := all[p.Storage]
		switch {
		case p.Storage == "" || target.Pair != nil:
		case named(p.Name) && !ok:
			a.fault("pools", p.Name, "storage", "pool %q does not exist", p.Storage)
		case named(p.Name):
			a.fault("pools", p.Name, "storage", "pool %s is no storage pair: it has no pair", p.Storage)
		case !ok:
			a.fault("pools", p.Storage, "", "cannot be deleted: it is the storage of pool %s", p.Name)
		default:
			a.fault("pools", p.Storage, "pair", "cannot be taken away: it is the storage of pool %s", p.Name)
		}
	}
}

// checkPair looks at one pair.
func (a *applier) checkPair(p Pool) {
	at := p.Pair.Address
	fault := func(format string, args ...any) { a.fault("pools", p.Name, "pair.address", format, args...) }
	for q := range a.tx.Pools().All() {
		switch {
		case q.Name != p.Name && q.Addresses.Contains(at):
			fault("%s is in the addresses of pool %s (%s)", at, q.Name, q.Addresses)
		case q.Name < p.Name && q.Pair != nil && q.Pair.Address == at:
			fault("%s is that of pool %s", at, q.Name)
		}
	}
	if a.Subnets != nil && !slices.ContainsFunc(a.Subnets, func(s netip.Prefix) bool { return s.Contains(at) && s.Contains(p.Addresses.First) }) {
		fault("%s is in no subnet that DHCP serves together with the slots' addresses (%v)", at, a.Subnets)
	}
	for _, r := range a.Ranges {
		if r.Contains(at) {
			fault("%s is one that DHCP gives to any machine (%s)", at, r)
		}
	}
	a.checkNeighbours(p, fault)
	if role, err := a.effective(a.tx, p.Role); err == nil && role.Root != RootRAM {
		a.fault("pools", p.Name, "role", "role %s has root: %s; the machines of a storage pair need root: ram, as there is no storage without them", role.Name, cmp.Or(role.Root, RootNFS))
	}
}

// checkNeighbours looks at who else has an address in the pair's network.
func (a *applier) checkNeighbours(p Pool, fault func(format string, args ...any)) {
	if a.Network == nil {
		return
	}
	n, ok := a.Registry.Network(p.Addresses.First)
	at := p.Pair.Address
	switch {
	case !ok: // the addresses are at fault
	case !n.Prefix.Contains(at):
		fault("%s is not in the network of the slots' addresses, %s", at, n.Prefix)
	case at == n.Prefix.Masked().Addr(), !n.Prefix.Contains(at.Next()):
		fault("%s is the network's own, or its broadcast address (%s)", at, n.Prefix)
	case at == n.Router:
		fault("%s is the router's", at)
	case at == n.Server:
		fault("%s is the boot server's", at)
	case slices.Contains(n.DNS, at):
		fault("%s is a DNS server's", at)
	}
}
