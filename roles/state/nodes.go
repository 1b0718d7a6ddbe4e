package state

import (
	"iter"
	"net/netip"

	"muster/roles"
)

var nodeKind = &kind[roles.MAC, roles.Node]{
	name: "nodes",
	key:  func(n *roles.Node) roles.MAC { return n.MAC },
	id:   keyOf[roles.MAC],
}

// nodeTable derives Name and Address of a node from the slot whose occupant it is, at every reading: they
// follow the slot without the node being put again.
type nodeTable struct {
	table[roles.MAC, roles.Node]
}

// Nodes implements roles.Tx.
func (t *tx) Nodes() roles.Table[roles.MAC, roles.Node] {
	return nodeTable{table[roles.MAC, roles.Node]{t, nodeKind}}
}

// Get implements roles.Table.
func (t nodeTable) Get(m roles.MAC) (roles.Node, bool) {
	n, ok := t.table.Get(m)
	return t.derive(n), ok
}

// All implements roles.Table.
func (t nodeTable) All() iter.Seq[roles.Node] {
	return func(yield func(roles.Node) bool) {
		for n := range t.table.All() {
			if !yield(t.derive(n)) {
				return
			}
		}
	}
}

// Put implements roles.Table. Name is not stored; Address only where the node has no slot.
func (t nodeTable) Put(n roles.Node) error {
	n.Name = ""
	if t.tx.slotOf(n.MAC) != nil {
		n.Address = netip.Addr{}
	}
	return t.table.Put(n)
}

// Delete implements roles.Table. The node's boots go with it; its events stay in the log.
func (t nodeTable) Delete(m roles.MAC) error {
	if err := t.table.Delete(m); err != nil {
		return err
	}
	return t.tx.keepBoots(m, 0)
}

func (t nodeTable) derive(n roles.Node) roles.Node {
	if s := t.tx.slotOf(n.MAC); s != nil {
		n.Name, n.Address = s.Name, s.Address
	}
	return n
}
