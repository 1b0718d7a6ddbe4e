package roles

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// verdict is the outcome of a rule: an undecided one needs facts that the machine has not told yet.
type verdict int

const (
	no verdict = iota
	undecided
	yes
)

// finding is one field of a rule, compared with one machine, in words.
type finding struct {
	verdict verdict
	text    string
}

// evaluate compares every field of m that is set with what is known of n. A nil Match matches nothing.
func (m *Match) evaluate(n Node) (verdict, []string) {
	if m == nil {
		return no, []string{"it has no match rule: only assigned nodes join"}
	}
	found := m.findings(n)
	if len(found) == 0 {
		return no, []string{"its match rule is empty: only assigned nodes join"}
	}
	result := yes
	texts := make([]string, 0, len(found))
	for _, f := range found {
		result = min(result, f.verdict)
		texts = append(texts, f.text)
	}
	return result, texts
}

func (m *Match) findings(n Node) []finding {
	f := n.Facts
	var out []finding
	for _, p := range []struct {
		field    string
		patterns []string
		value    string
	}{
		{"arch", m.Arch, f.Arch},
		{"firmware", m.Firmware, f.Firmware},
		{"mac", m.MAC, n.MAC.String()},
		{"uuid", m.UUID, f.UUID},
		{"manufacturer", m.Manufacturer, f.Manufacturer},
		{"product", m.Product, f.Product},
		{"serial", m.Serial, f.Serial},
		{"circuit", m.Circuit, f.Circuit},
		{"remote", m.Remote, f.Remote},
	} {
		if len(p.patterns) > 0 {
			out = append(out, matchPattern(p.field, p.patterns, p.value, f.Inventory != nil))
		}
	}
	if len(m.Subnet) > 0 {
		out = append(out, matchSubnet(m.Subnet, f.Address))
	}
	for _, k := range slices.Sorted(maps.Keys(m.Labels)) {
		out = append(out, matchLabel(k, m.Labels[k], n.Labels))
	}
	if m.MemoryMin > 0 {
		out = append(out, matchLeast("memory", " MiB", m.MemoryMin, f.Inventory, func(i *Inventory) int { return i.Memory }))
	}
	if m.CPUMin > 0 {
		out = append(out, matchLeast("cpus", "", m.CPUMin, f.Inventory, func(i *Inventory) int { return i.CPUs }))
	}
	return out
}

// matchPattern compares without case; complete says that an empty value will stay empty.
func matchPattern(field string, patterns []string, value string, complete bool) finding {
	if value == "" && !complete {
		return finding{undecided, field + " is not known yet"}
	}
	for _, p := range patterns {
		// The pattern was checked when the pool was declared.
		if ok, _ := path.Match(strings.ToLower(p), strings.ToLower(value)); ok {
			return finding{yes, fmt.Sprintf("%s %s matches %s", field, value, p)}
		}
	}
	return finding{no, fmt.Sprintf("%s is %q, wanted %s", field, value, strings.Join(patterns, " or "))}
}

func matchSubnet(subnets []netip.Prefix, a netip.Addr) finding {
	if !a.IsValid() {
		return finding{undecided, "subnet is not known yet"}
	}
	for _, s := range subnets {
		if s.Contains(a) {
			return finding{yes, fmt.Sprintf("%s is in subnet %s", a, s)}
		}
	}
	return finding{no, fmt.Sprintf("%s is not in subnet %v", a, subnets)}
}

func matchLabel(key, want string, labels map[string]string) finding {
	if got, ok := labels[key]; !ok || got != want {
		return finding{no, fmt.Sprintf("label %s is %q, wanted %q", key, got, want)}
	}
	return finding{yes, fmt.Sprintf("label %s is %s", key, want)}
}

func matchLeast(field, unit string, want int, inv *Inventory, get func(*Inventory) int) finding {
	if inv == nil {
		return finding{undecided, field + " is not known yet"}
	}
	if got := get(inv); got < want {
		return finding{no, fmt.Sprintf("%s is %d%s, wanted at least %d", field, got, unit, want)}
	}
	return finding{yes, fmt.Sprintf("%s is at least %d%s", field, want, unit)}
}

// validate reports every pattern that cannot be compared.
func (m *Match) validate() []error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, p := range slices.Concat(m.Arch, m.Firmware, m.MAC, m.UUID, m.Manufacturer, m.Product, m.Serial, m.Circuit, m.Remote) {
		if _, err := path.Match(p, ""); err != nil {
			errs = append(errs, fmt.Errorf("match: the pattern %q is malformed", p))
		}
	}
	for _, f := range m.Firmware {
		if f != "bios" && f != "uefi" {
			errs = append(errs, fmt.Errorf("match: firmware %q is not known (want bios or uefi)", f))
		}
	}
	return errs
}
