package state

import (
	"encoding/json"

	"muster/roles"
)

var rolloutKind = &kind[string, roles.Rollout]{
	name: "rollouts",
	key:  func(r *roles.Rollout) string { return r.Pool },
	id:   keyText,
	encode: func(r roles.Rollout) ([]byte, error) {
		return json.Marshal(storedRollout{Rollout: r, Cause: r.Cause, Ailing: r.Ailing})
	},
	decode: func(b []byte) (roles.Rollout, error) {
		var s storedRollout
		err := json.Unmarshal(b, &s)
		s.Rollout.Cause, s.Rollout.Ailing = s.Cause, s.Ailing
		return s.Rollout, err
	},
}

// storedRollout adds what only the reconciler needs.
type storedRollout struct {
	roles.Rollout
	Cause  string   `json:"cause,omitempty"`
	Ailing []string `json:"ailing,omitempty"`
}

// Rollouts implements roles.Tx.
func (t *tx) Rollouts() roles.Table[string, roles.Rollout] {
	return table[string, roles.Rollout]{t, rolloutKind}
}
