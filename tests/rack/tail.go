package rack

// tail keeps the end of a stream. The zero value is empty.
type tail struct {
	buf []byte
	// end is how many bytes the stream had so far: the offset of the next one.
	end int64
}

// add appends p and forgets the oldest half when more than consoleKeep bytes would be kept.
func (t *tail) add(p []byte) {
	t.buf = append(t.buf, p...)
	t.end += int64(len(p))
	if len(t.buf) > consoleKeep {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-consoleKeep/2:]...)
	}
}

// from gives what is kept of the stream from offset at on. It is valid until the next add.
func (t *tail) from(at int64) []byte {
	first := t.end - int64(len(t.buf))
	return t.buf[max(0, at-first):]
}

// stripper removes what makes console output hard to read and to match: carriage returns, other control
// characters and the escape sequences of ECMA-48. It remembers where it is between two pieces of a stream.
type stripper struct{ state stripState }

type stripState int

const (
	stripText stripState = iota
	// stripEscape: after ESC. stripCSI: in a control sequence, up to its final byte. stripOSC: in an
	// operating system command, up to BEL or ESC \. stripOne: one byte is still to skip.
	stripEscape
	stripCSI
	stripOSC
	stripOne
)

const (
	esc = 0x1b
	bel = 0x07
)

// clean returns what is left of p.
func (s *stripper) clean(p []byte) []byte {
	out := make([]byte, 0, len(p))
	for _, b := range p {
		switch s.state {
		case stripText:
			switch {
			case b == esc:
				s.state = stripEscape
			case b == '\n' || b == '\t' || b >= ' ' && b != 0x7f:
				out = append(out, b)
			}
		case stripEscape:
			s.state = afterEscape(b)
		case stripCSI:
			if b >= 0x40 && b <= 0x7e {
				s.state = stripText
			}
		case stripOSC:
			if b == bel {
				s.state = stripText
			} else if b == esc {
				s.state = stripOne
			}
		case stripOne:
			s.state = stripText
		}
	}
	return out
}

// afterEscape says what the byte after ESC begins.
func afterEscape(b byte) stripState {
	switch b {
	case '[':
		return stripCSI
	case ']':
		return stripOSC
	case '(', ')':
		return stripOne // selects a character set
	case esc:
		return stripEscape
	}
	return stripText
}
