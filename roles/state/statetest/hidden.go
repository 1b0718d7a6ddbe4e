package statetest

import (
	"encoding/json"
	"strings"
	"testing"

	"muster/roles"
)

// testHidden: what proves who a machine is, and what it must keep to itself, is stored, survives, and is in no
// listing.
func testHidden(t *testing.T, r *rack) {
	r.update(Fill)
	r.reopen()
	r.view(func(tx roles.Tx) {
		s, _ := tx.Secrets().Get(FullSecret().Key)
		if string(s.Value) != string(FullSecret().Value) {
			t.Errorf("the secret's value came back as %q", s.Value)
		}
		b, _ := tx.Boots().Get(3)
		if b.Token != FullBoot().Token || b.Claim != FullBoot().Claim {
			t.Errorf("the boot has token %q and claim %q", b.Token, b.Claim)
		}
		text, err := json.Marshal([]any{s, b, []roles.Secret{s}})
		if err != nil {
			t.Fatal(err)
		}
		value, _ := json.Marshal(s.Value) // base64
		for _, hidden := range []string{strings.Trim(string(value), "\""), `"` + b.Token + `"`, `"` + b.Claim + `"`} {
			if strings.Contains(string(text), hidden) {
				t.Errorf("a listing shows %s: %s", hidden, text)
			}
		}
	})
}
