package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestGrid(t *testing.T) {
	g := newGrid("A", "LONGER", "C")
	g.row("1", "", "3")
	g.row("", "two", "")
	g.row("bell\a", "new\nline")
	var b bytes.Buffer
	g.print(&b)
	want := strings.TrimPrefix(`
A      LONGER  C
1      -       3
-      two
bell`+"\uFFFD"+`  new line
`, "\n")
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

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
  - |-
    two
    lines
map: {}
`, "\n")
	if string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
}
