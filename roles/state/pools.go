package state

import (
	"encoding/json"

	"muster/roles"
)

var poolKind = &kind[string, roles.Pool]{
	name: "pools",
	key:  func(p *roles.Pool) string { return p.Name },
	id:   keyText,
	encode: func(p roles.Pool) ([]byte, error) {
		s := storedPool{Pool: p}
		if p.Addresses.First.IsValid() {
			s.Addresses = &p.Addresses
		}
		return json.Marshal(s)
	},
	decode: func(b []byte) (roles.Pool, error) {
		var s storedPool
		err := json.Unmarshal(b, &s)
		if s.Addresses != nil {
			s.Pool.Addresses = *s.Addresses
		}
		return s.Pool, err
	},
}

// storedPool leaves out a range without addresses, whose text "" is not read back.
type storedPool struct {
	roles.Pool
	Addresses *roles.AddressRange `json:"addresses,omitempty"`
}

// Pools implements roles.Tx.
func (t *tx) Pools() roles.Table[string, roles.Pool] {
	return table[string, roles.Pool]{t, poolKind}
}
