package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// TestYAMLKeepsWhatJSONSays: order, types and texts that look like something else.
func TestYAMLKeepsWhatJSONSays(t *testing.T) {
	v := struct {
		Zeta  string            `json:"zeta"`
		Alpha []int             `json:"alpha"`
		None  []int             `json:"none"`
		Text  []string          `json:"text"`
		Map   map[string]string `json:"map"`
	}{"off", []int{1, 2}, []int{}, []string{"1", "true", "a: b", "52:54:00:12:34:56", "two\nlines"}, map[string]string{}}
	b, err := toYAML(v)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
zeta: "off"
alpha:
  - 1
  - 2
none: []
text:
  - "1"
  - "true"
  - 'a: b'
  - "52:54:00:12:34:56"
  - "two\nlines"
map: {}
`, "\n")
	if string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
}

// FuzzYAML: every text that is written can be read back as the same text.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "off", "~", "52:54:00:12:34:56", "a: b", "- x", "two\nlines\n", " x ", "\t", "é\u2028", "0x1f", "'", `"`, "#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// JSON replaces what is not UTF-8.
		want := []string{strings.ToValidUTF8(s, "\uFFFD")}
		b, err := toYAML([]string{s})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := yaml.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q became\n%s%v", s, b, err)
		}
		if utf8.ValidString(s) && !slices.Equal(got, want) {
			t.Errorf("%q became\n%swhich is %q", s, b, got)
		}
	})
}
