package rack

import (
	"bytes"
	"strings"
	"testing"
)

func TestStripper(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain\r\n", "plain\n"},
		{"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS", "SeaBIOS"},
		{"\x1b[0;1miPXE 1.0\x1b[0m -- Open", "iPXE 1.0 -- Open"},
		{"\x1b]0;title\x07a\x1b]0;title\x1b\\b", "ab"},
		{"\x1b(Bc\x1b\x1b[1md", "cd"},
		{"[\x1b[0;32m  OK  \x1b[0m] Reached é", "[  OK  ] Reached é"},
		{"x\b \by\x00", "x y"},
	} {
		// In one piece and byte by byte: a sequence may be split between two reads.
		var whole, bytewise stripper
		var got []byte
		for i := range len(tt.in) {
			got = append(got, bytewise.clean([]byte{tt.in[i]})...)
		}
		if string(got) != tt.want {
			t.Errorf("%q byte by byte: got %q, want %q", tt.in, got, tt.want)
		}
		if got := whole.clean([]byte(tt.in)); string(got) != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTail(t *testing.T) {
	var kept tail
	piece := []byte(strings.Repeat("0123456789abcde\n", 1024))
	var all []byte
	for range 100 {
		kept.add(piece)
		all = append(all, piece...)
		if len(kept.buf) > consoleKeep {
			t.Fatalf("keeps %d bytes, want at most %d", len(kept.buf), consoleKeep)
		}
	}
	if kept.end != int64(len(all)) {
		t.Errorf("end %d, want %d", kept.end, len(all))
	}
	if got := kept.from(kept.end - 20); !bytes.Equal(got, all[len(all)-20:]) {
		t.Errorf("last 20 bytes are %q", got)
	}
	if got := kept.from(0); !bytes.HasSuffix(all, got) || len(got) < consoleKeep/2 {
		t.Errorf("from the start: got %d bytes", len(got))
	}
	if got := kept.from(kept.end); len(got) != 0 {
		t.Errorf("from the end: got %d bytes", len(got))
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines("a\n\n  \nb  \n"+strings.Repeat("x", 500)+"END\n", 2); got != "b\n"+strings.Repeat("x", lineKeep-3)+"END" {
		t.Errorf("got %q", got)
	}
}
