package rack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cutTable is the nftables table with the rules that drop frames.
const cutTable = "muster_rack_cut"

// cuts are the frames that the rack's switch drops, by the names of its ports.
type cuts struct {
	// ports lose every frame; pairs only those between the two.
	ports map[string]bool
	pairs map[[2]string]bool
}

// Cut makes the switch drop every frame to and from a machine, until Heal. Unlike Cable it does not show: the
// machine's link stays up. It holds through power cycles, as a broken port does.
func (r *Rack) Cut(ctx context.Context, m *Machine) error {
	return r.cut(ctx, func(c *cuts) { c.ports[m.tap] = true })
}

// CutBetween makes the switch drop every frame between two machines, until Heal; the server reaches both.
func (r *Rack) CutBetween(ctx context.Context, a, b *Machine) error {
	return r.cut(ctx, func(c *cuts) { c.pairs[[2]string{a.tap, b.tap}] = true })
}

// Heal ends every cut.
func (r *Rack) Heal(ctx context.Context) error {
	return r.cut(ctx, func(c *cuts) { clear(c.ports); clear(c.pairs) })
}

// cut changes what is dropped; when that fails nothing has changed. It needs the Debian package nftables.
func (r *Rack) cut(ctx context.Context, change func(*cuts)) error {
	if err := need(lossTools); err != nil {
		return err
	}
	r.cutting.Lock()
	defer r.cutting.Unlock()
	next := cuts{ports: map[string]bool{}, pairs: map[[2]string]bool{}}
	maps.Copy(next.ports, r.cuts.ports)
	maps.Copy(next.pairs, r.cuts.pairs)
	change(&next)
	if err := r.nft(ctx, next.rules()); err != nil {
		return err
	}
	r.cuts = next
	r.log.Info("network cut", "ports", slices.Sorted(maps.Keys(next.ports)), "pairs", len(next.pairs))
	return nil
}

// rules replaces the table as a whole. Frames of a port are dropped before the switch learns from them.
func (c cuts) rules() string {
	var in, out, between strings.Builder
	for _, port := range slices.Sorted(maps.Keys(c.ports)) {
		fmt.Fprintf(&in, "\t\tiifname %q counter drop\n", port)
		fmt.Fprintf(&out, "\t\toifname %q counter drop\n", port)
	}
	for pair := range c.pairs {
		fmt.Fprintf(&between, "\t\tiifname %q oifname %q counter drop\n", pair[0], pair[1])
		fmt.Fprintf(&between, "\t\tiifname %q oifname %q counter drop\n", pair[1], pair[0])
	}
	return fmt.Sprintf(`add table bridge %[1]s
delete table bridge %[1]s
table bridge %[1]s {
	chain in {
		type filter hook prerouting priority 0;
%[2]s	}
	chain out {
		type filter hook postrouting priority 0;
%[3]s	}
	chain between {
		type filter hook forward priority 0;
%[4]s	}
}
`, cutTable, &in, &out, &between)
}
