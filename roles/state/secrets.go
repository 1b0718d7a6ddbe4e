package state

import (
	"encoding/json"

	"muster/roles"
)

var secretKind = &kind[string, roles.Secret]{
	name: "secrets",
	key:  func(s *roles.Secret) string { return s.Key },
	id:   keyText,
	encode: func(s roles.Secret) ([]byte, error) {
		return json.Marshal(storedSecret{Secret: s, Value: s.Value})
	},
	decode: func(b []byte) (roles.Secret, error) {
		var s storedSecret
		err := json.Unmarshal(b, &s)
		s.Secret.Value = s.Value
		return s.Secret, err
	},
}

// storedSecret adds the value, which no listing has.
type storedSecret struct {
	roles.Secret
	Value []byte `json:"value"`
}

// Secrets implements roles.Tx.
func (t *tx) Secrets() roles.Table[string, roles.Secret] {
	return table[string, roles.Secret]{t, secretKind}
}
