package leasefile

import "strings"

// token is a word, a string, or one of { } ; = in a file of ISC dhcpd.
type token struct {
	text string
	line int
	// first: it begins its line, without a blank before it. dhcpd writes so what is not inside of anything.
	first bool
	// quoted: it was a string; text is what it stands for.
	quoted bool
}

func (t token) is(s string) bool { return t.text == s && !t.quoted }

// end is the token after the last one.
func (t token) end() bool { return t.text == "" && !t.quoted }

// begins reports whether t begins one of the things that dhcpd writes outside of all others. After a line that is
// broken, it is where reading goes on.
func (t token) begins() bool {
	if !t.first || t.quoted {
		return false
	}
	switch t.text {
	case "lease", "host", "ia-na", "ia-ta", "ia-pd", "failover":
		return true
	}
	return false
}

// lexer cuts a file into tokens.
type lexer struct {
	rest   []byte
	line   int
	fresh  bool // at the beginning of a line
	pushed *token
}

// next gives the next token.
func (l *lexer) next() token {
	if t := l.pushed; t != nil {
		l.pushed = nil
		return *t
	}
	l.blanks()
	t := token{line: l.line, first: l.fresh}
	l.fresh = false
	if len(l.rest) == 0 {
		return t
	}
	switch c := l.rest[0]; c {
	case '{', '}', ';', '=', ',':
		t.text, l.rest = string(c), l.rest[1:]
	case '"':
		t.quoted = true
		t.text = l.quoted()
	default:
		n := 1
		for n < len(l.rest) && !strings.ContainsRune(" \t\r\n{};=,\"#", rune(l.rest[n])) {
			n++
		}
		t.text, l.rest = string(l.rest[:n]), l.rest[n:]
	}
	return t
}

// back makes t the next token again.
func (l *lexer) back(t token) { l.pushed = &t }

// blanks passes over blanks, line ends and comments.
func (l *lexer) blanks() {
	for len(l.rest) > 0 {
		switch l.rest[0] {
		case '\n':
			l.line, l.fresh = l.line+1, true
		case ' ', '\t', '\r':
			l.fresh = false
		case '#':
			for len(l.rest) > 1 && l.rest[1] != '\n' {
				l.rest = l.rest[1:]
			}
		default:
			return
		}
		l.rest = l.rest[1:]
	}
}

// quoted reads a string with its escapes: \" \\ and octal \001. One that does not end ends with its line.
func (l *lexer) quoted() string {
	var s []byte
	l.rest = l.rest[1:]
	for len(l.rest) > 0 && l.rest[0] != '\n' {
		c := l.rest[0]
		l.rest = l.rest[1:]
		switch {
		case c == '"':
			return string(s)
		case c == '\\' && len(l.rest) >= 3 && octal(l.rest[:3]):
			c = (l.rest[0]-'0')<<6 | (l.rest[1]-'0')<<3 | (l.rest[2] - '0')
			l.rest = l.rest[3:]
		case c == '\\' && len(l.rest) > 0 && l.rest[0] != '\n':
			c, l.rest = l.rest[0], l.rest[1:]
		}
		s = append(s, c)
	}
	return string(s)
}

func octal(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '7' {
			return false
		}
	}
	return b[0] <= '3'
}
