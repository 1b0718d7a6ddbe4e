package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// ApplyOptions say how a declaration is applied.
type ApplyOptions struct {
	// DryRun computes the changes and makes none.
	DryRun bool
	// Prune deletes the roles and pools that the declaration does not have. Nodes stay: a machine does not
	// stop to exist; muster node forget is for that.
	Prune bool
}

// Change is what applying a declaration does to one thing.
type Change struct {
	// Kind is role, pool or node; Action create, update, delete or unchanged.
	Kind   string        `json:"kind"`
	Name   string        `json:"name"`
	Action string        `json:"action"`
	Fields []FieldChange `json:"fields,omitempty"`
	// Note is a sentence on what follows that the fields do not show; empty for nothing.
	Note string `json:"note,omitempty"`
}

// FieldChange is one field's old and new value as YAML; empty for none. A variable is a field of its own
// (vars.port), as is a file (files[/etc/motd]) or a secret (secrets[tls]), which has no value here.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// errDryRun rolls a transaction back.
var errDryRun = errors.New("dry run")

// Apply makes the rack what d says, or changes nothing. What d does not mention stays. Applying the same
// declaration again changes nothing. What is wrong with the declaration is one error, a Faults.
func (r *Registry) Apply(ctx context.Context, d Declaration, o ApplyOptions) (out []Change, err error) {
	if faults := d.Validate(); len(faults) > 0 {
		return nil, Faults(faults)
	}
	err = r.Store.Update(ctx, func(tx Tx) error {
		a := applier{Registry: r, tx: tx, now: r.now(), changes: nil}
		if err := a.apply(d, o); err != nil {
			return err
		}
		if out = a.changes; o.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	if !o.DryRun {
		r.log().Info("declaration applied", "changes", len(out))
	}
	return out, nil
}

type applier struct {
	*Registry
	tx      Tx
	now     time.Time
	changes []Change
	faults  []error
}

func (a *applier) apply(d Declaration, o ApplyOptions) error {
	for _, role := range d.Roles {
		old, had := a.tx.Roles().Get(role.Name)
		if a.note("role", role.Name, had, old, role) {
			if err := a.tx.Roles().Put(role); err != nil {
				return err
			}
		}
	}
	if o.Prune {
		// Before the pools are made: one may take over the addresses of one that goes.
		if err := a.prune(d); err != nil {
			return err
		}
	}
	for _, p := range d.Pools {
		old, had := a.tx.Pools().Get(p.Name)
		if a.note("pool", p.Name, had, old, p) {
			if err := a.pair(old, p); err != nil {
				return err
			}
			if err := a.pool(p); err != nil {
				return err
			}
		}
	}
	a.check(d)
	a.checkStorage(d)
	if len(a.faults) == 0 {
		a.checkFiles(d)
	}
	for _, n := range d.Nodes {
		if err := a.node(n); err != nil {
			return err
		}
	}
	if len(a.faults) > 0 {
		return Faults(a.faults)
	}
	return nil
}

func (a *applier) fault(list, name, field, format string, args ...any) {
	a.faults = append(a.faults, &Fault{list, name, field, 0, fmt.Sprintf(format, args...)})
}

// note records a change, and reports whether there is one.
func (a *applier) note(kind, name string, had bool, old, new any) bool {
	c := Change{Kind: kind, Name: name, Action: "create"}
	before := map[string]string{}
	if had {
		c.Action, before = "update", fields(old)
	}
	after := fields(new)
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if before[k] != after[k] {
			c.Fields = append(c.Fields, FieldChange{k, before[k], after[k]})
		}
	}
	if had && len(c.Fields) == 0 {
		c.Action = "unchanged"
	}
	a.changes = append(a.changes, c)
	return c.Action != "unchanged"
}

// pool stores p and makes its slots.
func (a *applier) pool(p Pool) error {
	if err := a.tx.Pools().Put(p); err != nil {
		return err
	}
	want := map[string]Slot{}
	for i := range p.Slots() {
		s := Slot{Name: p.SlotName(i + 1), Pool: p.Name, Number: i + 1, Address: p.Addresses.At(i)}
		want[s.Name] = s
	}
	// Changed slots are deleted before any is made: a shifted range passes its addresses along.
	for s := range a.tx.SlotsOf(p.Name) {
		w, keep := want[s.Name]
		if keep && w.Address == s.Address {
			delete(want, s.Name)
			continue
		}
		if !s.Node.IsZero() {
			a.fault("pools", p.Name, "addresses", "would take %s from %s, which %s occupies: release it first", s.Address, s.Name, s.Node)
			delete(want, s.Name)
			continue
		}
		if keep {
			w.Used = s.Used
			want[s.Name] = w
		}
		if err := a.tx.Slots().Delete(s.Name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := a.tx.Slots().Put(want[name]); err != nil {
			a.fault("pools", p.Name, "addresses", "%s", sentence(err))
		}
	}
	return nil
}

func (a *applier) prune(d Declaration) error {
	for p := range a.tx.Pools().All() {
		if slices.ContainsFunc(d.Pools, func(q Pool) bool { return q.Name == p.Name }) {
			continue
		}
		a.changes = append(a.changes, Change{Kind: "pool", Name: p.Name, Action: "delete"})
		for s := range a.tx.SlotsOf(p.Name) {
			if !s.Node.IsZero() {
				a.fault("pools", p.Name, "", "cannot be deleted: %s occupies %s; release it first", s.Node, s.Name)
				continue
			}
			if err := a.tx.Slots().Delete(s.Name); err != nil {
				return err
			}
		}
		if err := a.tx.Pools().Delete(p.Name); err != nil {
			return err
		}
		if err := forgetSecrets(a.tx, p.Name); err != nil {
			return err
		}
		if err := a.forgetPair(p); err != nil {
			return err
		}
	}
	for role := range a.tx.Roles().All() {
		if slices.ContainsFunc(d.Roles, func(q Role) bool { return q.Name == role.Name }) {
			continue
		}
		a.changes = append(a.changes, Change{Kind: "role", Name: role.Name, Action: "delete"})
		if err := a.tx.Roles().Delete(role.Name); err != nil {
			return err
		}
	}
	return nil
}

// check looks at the declared pools in the rack as it would be.
func (a *applier) check(d Declaration) {
	for i, p := range d.Pools {
		if _, err := a.effective(a.tx, p.Role); err != nil {
			a.fault("pools", p.Name, "role", "%s", sentence(err))
		}
		if a.Subnets != nil && !slices.ContainsFunc(a.Subnets, func(s netip.Prefix) bool {
			return s.Contains(p.Addresses.First) && s.Contains(p.Addresses.Last)
		}) {
			a.fault("pools", p.Name, "addresses", "%s is in none of the subnets that DHCP serves (%v)", p.Addresses, a.Subnets)
		}
		for q := range a.tx.Pools().All() {
			// Of two that are declared, the later one is at fault.
			later := slices.ContainsFunc(d.Pools[i:], func(l Pool) bool { return l.Name == q.Name })
			if !later && q.Addresses.Overlaps(p.Addresses) {
				a.fault("pools", p.Name, "addresses", "%s overlaps with %s of pool %s", p.Addresses, q.Addresses, q.Name)
			}
		}
	}
}

func (a *applier) node(d NodeDeclaration) error {
	n, had := a.tx.Nodes().Get(d.MAC)
	old := declared(n)
	if d.Pool == "" {
		// Not saying a pool is not the same as taking one away: muster node release does that.
		d.Pool, d.Slot = old.Pool, old.Slot
	}
	if !had {
		n = Node{MAC: d.MAC, State: StateOff, Since: a.now}
	}
	if !a.note("node", d.MAC.String(), had, old, d) {
		return nil
	}
	n.Labels, n.Power = d.Labels, d.Power
	if d.Power != nil && a.Power[d.Power.Driver] == nil {
		a.fault("nodes", d.MAC.String(), "power", "driver %q is not configured", d.Power.Driver)
	}
	if d.Pool == "" || (d.Pool == old.Pool && d.Slot == old.Slot) {
		return a.tx.Nodes().Put(n)
	}
	if err := assignable(a.tx, n, d.Pool, d.Slot); err != nil {
		a.fault("nodes", d.MAC.String(), "pool", "%s", sentence(err))
		return nil
	}
	from := n.Slot
	n.Pool, n.Assigned, n.WantSlot, n.Replaced, n.Released = d.Pool, true, d.Slot, nil, false
	n, err := a.reassign(a.tx, n, d.Pool, d.Slot)
	if err != nil {
		return err
	}
	return operator(a.tx, n, a.now, fmt.Sprintf("assigned to %s by a declaration%s", cmp.Or(d.Slot, "pool "+d.Pool), wasIn(from)))
}

// declared is what an operator said of n.
func declared(n Node) NodeDeclaration {
	d := NodeDeclaration{MAC: n.MAC, Labels: n.Labels, Power: n.Power}
	if n.Assigned {
		d.Pool, d.Slot = n.Pool, n.WantSlot
	}
	return d
}

// Export gives the declaration that Apply would make the same rack from: everything declared, and the
// assignments that operators made since.
func (r *Registry) Export() (d Declaration, err error) {
	err = r.Store.View(func(tx Tx) error {
		d.Roles, d.Pools = slices.Collect(tx.Roles().All()), slices.Collect(tx.Pools().All())
		for n := range tx.Nodes().All() {
			if e := declared(n); e.Pool != "" || len(e.Labels) > 0 || e.Power != nil {
				d.Nodes = append(d.Nodes, e)
			}
		}
		return nil
	})
	return d, err
}
