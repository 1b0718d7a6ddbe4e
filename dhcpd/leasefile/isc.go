package leasefile

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// isc reads dhcpd.leases(5): a log, in which the last lease of an address counts.
func (p *parser) isc(b []byte) {
	l := &lexer{rest: b, line: 1, fresh: true}
	for {
		switch t := l.next(); {
		case t.end():
			return
		case t.is("lease"):
			p.iscLease(l, t.line)
		case t.is("ia-na"), t.is("ia-ta"), t.is("ia-pd"):
			p.v6++
			skip(l)
		case t.is("host"):
			name := l.next()
			p.fault(t.line, "host %q is a fixed address and no lease: write it into dhcpd.subnets[].hosts of muster.yaml", name.text)
			if !name.is(";") && !name.is("}") {
				skip(l)
			}
		case t.is(";"), t.is("}"):
		default:
			skip(l) // authoring-byte-order, server-duid, failover peer …
		}
	}
}

// skip passes over the rest of a statement, with the block that it may have, but never over what begins another.
func skip(l *lexer) {
	for depth := 0; ; {
		switch t := l.next(); {
		case t.end():
			return
		case t.begins():
			l.back(t)
			return
		case t.is("{"):
			depth++
		case t.is("}"):
			if depth--; depth <= 0 {
				return
			}
		case t.is(";") && depth == 0:
			return
		}
	}
}

// iscLease reads one lease, from its address on.
func (p *parser) iscLease(l *lexer, line int) {
	at, open := l.next(), l.next()
	addr, err := address(at.text)
	if err != nil || !open.is("{") {
		if err == nil {
			err = fmt.Errorf("lease %s: want { and its statements", addr)
		}
		p.fault(line, "%v", err)
		for _, t := range []token{at, open} {
			if t.begins() {
				l.back(t)
				return
			}
		}
		skip(l)
		return
	}
	s := iscState{Entry: Entry{Line: line}}
	s.Addr = addr
	for {
		stmt, stop := statement(l)
		if len(stmt) > 0 {
			s.take(stmt)
		}
		switch stop {
		case "}":
			p.iscDone(s)
			return
		case "":
			p.fault(line, "lease %s is not closed: the file was cut off, or is damaged here", addr)
			return
		}
	}
}

// statement reads up to ; or the } that closes the lease, and says which it was: "" when the lease ends without.
func statement(l *lexer) (words []token, stop string) {
	for {
		switch t := l.next(); {
		case t.end():
			return nil, ""
		case t.begins():
			l.back(t)
			return nil, ""
		case t.is(";"), t.is("}"):
			return words, t.text
		case t.is("{"): // on expiry { … }
			l.back(t)
			skip(l)
			return nil, ";"
		default:
			words = append(words, t)
		}
	}
}

// iscState is a lease while it is read.
type iscState struct {
	Entry
	ended bool // it has an end
	err   error
}

// take understands one statement. Those that are not about who has the address until when do not matter.
func (s *iscState) take(words []token) {
	arg := func(i int) string {
		if i < len(words) {
			return words[i].text
		}
		return ""
	}
	var err error
	switch words[0].text {
	case "ends":
		s.ended = true
		s.Expires, err = iscTime(words[1:])
	case "hardware":
		if arg(1) == "ethernet" {
			s.MAC, err = hardware(arg(2))
		}
	case "client-hostname":
		s.Hostname = strings.TrimSuffix(arg(1), ".")
	case "abandoned":
		s.Declined = true
	case "binding":
		s.Free, s.Declined = false, false
		switch state := arg(2); state {
		case "active":
		case "abandoned":
			s.Declined = true
		case "free", "expired", "released", "backup", "reset":
			s.Free = true
		default:
			err = fmt.Errorf("%q is not a binding state", state)
		}
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("line %d: %w", words[0].line, err)
	}
}

// iscTime reads what follows "ends": a weekday and a time in UTC, seconds since 1970, or never.
func iscTime(words []token) (time.Time, error) {
	var text []string
	for _, w := range words {
		text = append(text, w.text)
	}
	switch {
	case len(text) == 1 && text[0] == "never":
		return Never, nil
	case len(text) == 2 && text[0] == "epoch":
		if n, err := strconv.ParseInt(text[1], 10, 64); err == nil {
			return ends(n), nil
		}
	case len(text) == 3:
		if t, err := time.Parse("2006/1/2 15:04:05", text[1]+" "+text[2]); err == nil {
			return ends(t.Unix()), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", strings.Join(text, " "))
}

func (p *parser) iscDone(s iscState) {
	switch {
	case s.err != nil:
		p.fault(s.Line, "lease %s: %v", s.Addr, s.err)
	case !s.ended && !s.Free:
		p.fault(s.Line, "lease %s does not say when it ends", s.Addr)
	default:
		p.put(s.Entry)
	}
}
