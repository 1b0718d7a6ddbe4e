package lease

import (
	"encoding/json"
	"testing"
)

func TestMACText(t *testing.T) {
	var m MAC
	for _, in := range []string{"52:54:00:AA:00:01", "52-54-00-aa-00-01", "5254.00aa.0001"} {
		if err := m.UnmarshalText([]byte(in)); err != nil || m.String() != "52:54:00:aa:00:01" {
			t.Errorf("%s: %s, %v", in, m, err)
		}
	}
	for _, in := range []string{"", "52:54:00", "52:54:00:aa:00:01:02:03", "x"} {
		if err := m.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was accepted as %s", in, m)
		}
	}
	out, err := json.Marshal(Lease{MAC: m, Addr: ip("10.0.0.1"), Expires: epoch})
	want := `{"mac":"52:54:00:aa:00:01","address":"10.0.0.1","expires":"2026-03-01T12:00:00Z"}`
	if err != nil || string(out) != want {
		t.Errorf("JSON %s, %v, want %s", out, err, want)
	}
}

func TestQuarantineIsNoMachine(t *testing.T) {
	if q := Quarantine(ip("10.0.0.7")); !q.Group() || q != (MAC{0xff, 0xff, 10, 0, 0, 7}) {
		t.Errorf("Quarantine = %s", q)
	}
	if mac(1).Group() {
		t.Error("a machine's MAC counts as a group address")
	}
}
