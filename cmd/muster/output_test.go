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
