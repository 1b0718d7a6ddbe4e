package state

import "muster/roles"

var roleKind = &kind[string, roles.Role]{
	name: "roles",
	key:  func(r *roles.Role) string { return r.Name },
	id:   keyText,
}

// Roles implements roles.Tx.
func (t *tx) Roles() roles.Table[string, roles.Role] {
	return table[string, roles.Role]{t, roleKind}
}
