package roles

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestFileMode(t *testing.T) {
	for text, want := range map[string]FileMode{"0640": 0o640, "640": 0o640, "0o640": 0o640, "4755": 0o4755, "0": 0, "7": 7, "07777": 0o7777} {
		var m FileMode
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%s: %s, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "0888", "10000", "-1", "+1", "0x1a", "u=rw", "0o", "6_4", " 640", "0.5"} {
		var m FileMode
		if err := m.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "is not a file mode (want octal: 0640)") {
			t.Errorf("%q: %s, %v", text, m, err)
		}
	}
}

// Written and read it is the same, in YAML without quotes.
func FuzzFileMode(f *testing.F) {
	for _, s := range []string{"0640", "640", "0o640", "4755", "0", "0888", "", "07777", "00000000640"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m FileMode
		if m.UnmarshalText([]byte(text)) != nil {
			return
		}
		if m > 0o7777 {
			t.Errorf("%q is %s", text, m)
		}
		out, err := yaml.Marshal(m)
		if err != nil || strings.TrimSpace(string(out)) != m.String() {
			t.Errorf("%s is written %q, %v", m, out, err)
		}
		var again FileMode
		if err := yaml.Unmarshal(out, &again); err != nil || again != m {
			t.Errorf("%q is read as %s, %v", out, again, err)
		}
	})
}
