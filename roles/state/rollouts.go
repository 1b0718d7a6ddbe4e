package state

import "muster/roles"

var rolloutKind = &kind[string, roles.Rollout]{
	name: "rollouts",
	key:  func(r *roles.Rollout) string { return r.Pool },
	id:   keyText,
}

// Rollouts implements roles.Tx.
func (t *tx) Rollouts() roles.Table[string, roles.Rollout] {
	return table[string, roles.Rollout]{t, rolloutKind}
}
