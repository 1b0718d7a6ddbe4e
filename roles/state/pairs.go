package state

import (
	"encoding/json"

	"muster/roles"
)

var pairKind = &kind[string, roles.Pair]{
	name:   "pairs",
	key:    func(p *roles.Pair) string { return p.Pool },
	id:     keyText,
	encode: func(p roles.Pair) ([]byte, error) { return json.Marshal(p) },
	decode: func(b []byte) (p roles.Pair, err error) { return p, json.Unmarshal(b, &p) },
}

// Pairs implements roles.Tx.
func (t *tx) Pairs() roles.Table[string, roles.Pair] {
	return table[string, roles.Pair]{t, pairKind}
}
