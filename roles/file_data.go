package roles

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// dataOf gives the values that the files of a slot may use. Networks gives the network of an address.
func dataOf(pools []Pool, p Pool, role Role, number int, image string, networks func(netip.Addr) (Network, bool)) FileData {
	d := FileData{Role: role.Name, Image: image, Pools: make(map[string]PoolData, len(pools)), Vars: p.Vars.over(role.Vars)}
	for _, q := range pools {
		d.Pools[q.Name] = q.data(networks)
	}
	d.Pool = d.Pools[p.Name]
	for _, m := range d.Pool.Members {
		if m.Number != number {
			d.Peers = append(d.Peers, m)
			continue
		}
		d.Name, d.Number, d.FQDN, d.Address = m.Name, m.Number, m.FQDN, m.Address
	}
	if n, ok := networks(d.Address); ok {
		d.Network, d.Router, d.DNS, d.Domain, d.Server = n.Prefix, n.Router, n.DNS, n.Domain, n.Server
	}
	return d
}

// data is the pool as templates see it. Its slots follow from the pool alone, occupied or not.
func (p Pool) data(networks func(netip.Addr) (Network, bool)) PoolData {
	n, _ := networks(p.Addresses.First)
	out := PoolData{Name: p.Name, Role: p.Role, Members: make([]Member, p.Slots()), Pair: p.Pair}
	for i := range out.Members {
		name := p.SlotName(i + 1)
		out.Members[i] = Member{Name: name, FQDN: fqdn(name, n.Domain), Number: i + 1, Address: p.Addresses.At(i)}
	}
	return out
}

func fqdn(name, domain string) string {
	if domain == "" {
		return name
	}
	return name + "." + domain
}

// over gives base with every variable of v in place of its own.
func (v Vars) over(base Vars) Vars {
	out := make(Vars, len(base)+len(v))
	maps.Copy(out, base)
	maps.Copy(out, v)
	return out
}

// filesOver gives base with every file of f in place of that of the same path, and the others after them.
func filesOver(f, base []File) []File {
	return mergedBy(f, base, func(f File) string { return f.Path })
}

// secretsOver is filesOver for secrets, by name.
func secretsOver(s, base []SecretSpec) []SecretSpec {
	return mergedBy(s, base, func(s SecretSpec) string { return s.Name })
}

func mergedBy[T any, K comparable](over, base []T, key func(T) K) []T {
	if len(over) == 0 {
		return base
	}
	out := slices.Clone(base)
	for _, v := range over {
		i := slices.IndexFunc(out, func(b T) bool { return key(b) == key(v) })
		if i < 0 {
			out = append(out, v)
		} else {
			out[i] = v
		}
	}
	return out
}

// networkFields are the fields of the data that have no value where no network is served.
var networkFields = []string{"Network", "Router", "DNS", "Domain", "Server", "FQDN"}

// mode is the file's, or the default.
func (f File) mode(secret bool) FileMode {
	def := FileMode(0o644)
	if secret {
		def = 0o600
	}
	return cmp.Or(f.Mode, def)
}

var (
	filesType   = reflect.TypeFor[[]File]()
	secretsType = reflect.TypeFor[[]SecretSpec]()
	varsType    = reflect.TypeFor[Vars]()
)

// merge sets dst to what a declared list or map makes of the library's; ok is false for a type that is
// replaced as a whole.
func merge(dst, src reflect.Value) (ok bool) {
	switch dst.Type() {
	case filesType:
		dst.Set(reflect.ValueOf(filesOver(src.Interface().([]File), dst.Interface().([]File))))
	case secretsType:
		dst.Set(reflect.ValueOf(secretsOver(src.Interface().([]SecretSpec), dst.Interface().([]SecretSpec))))
	case varsType:
		dst.Set(reflect.ValueOf(src.Interface().(Vars).over(dst.Interface().(Vars))))
	default:
		return false
	}
	return true
}
