package health

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"muster/roles"
)

// dnsReply makes the answer to a query, which change makes a bad one.
func dnsReply(t *testing.T, query []byte, change func(*dnsmessage.Message)) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Errorf("the query is no DNS message: %v", err)
		return nil
	}
	m.Response, m.RecursionAvailable = true, true
	change(&m)
	p, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return p
}

func rcode(c dnsmessage.RCode) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.RCode = c }
}

func TestDNSAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*dnsmessage.Message)
		want   string
	}{
		{"good", func(*dnsmessage.Message) {}, ""},
		{"no such name", rcode(dnsmessage.RCodeNameError), ""},
		{"truncated", func(m *dnsmessage.Message) { m.Truncated = true }, ""},
		{"small letters", func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("rack.example.") }, ""},
		{"failure", rcode(dnsmessage.RCodeServerFailure), "answers SERVFAIL to RACK.example. NS"},
		{"refused", rcode(dnsmessage.RCodeRefused), "answers REFUSED to RACK.example. NS"},
		{"format", func(m *dnsmessage.Message) { m.RCode, m.Questions = dnsmessage.RCodeFormatError, nil }, "answers FORMERR"},
		{"unknown code", rcode(9), "answers RCODE 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := listenUDP(t, func(q []byte) []byte { return dnsReply(t, q, c.change) })
			check(t, roles.Health{DNS: &roles.DNSCheck{Port: port, Name: "RACK.example", Type: "NS"}}, loopback, c.want)
		})
	}
}

// TestDNSForeign: what does not answer the question is told of at the deadline, and does not hide a good answer.
func TestDNSForeign(t *testing.T) {
	const timeout = roles.Duration(50 * time.Millisecond)
	for _, c := range []struct {
		name string
		fn   func(q []byte) []byte
		want string
	}{
		{"echo", func(q []byte) []byte { return q }, "sends what does not answer the question"},
		{"other id", func(q []byte) []byte { return dnsReply(t, q, func(m *dnsmessage.Message) { m.ID++ }) }, "sends what does not answer"},
		{"other name", func(q []byte) []byte {
			return dnsReply(t, q, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("evil.") })
		}, "answers another question"},
		{"no question", func(q []byte) []byte { return dnsReply(t, q, func(m *dnsmessage.Message) { m.Questions = nil }) }, "answers another question"},
		{"cut", func(q []byte) []byte { return dnsReply(t, q, func(*dnsmessage.Message) {})[:14] }, "answers another question"},
		{"garbage", func([]byte) []byte { return []byte("hello") }, "answers with 5 bytes, which are no DNS message"},
		{"empty", func([]byte) []byte { return []byte{} }, "answers with 0 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := listenUDP(t, c.fn)
			check(t, roles.Health{DNS: &roles.DNSCheck{Port: port}, Timeout: timeout}, loopback, c.want)
		})
	}
	var first []byte // a late answer to the first question comes before the one to the second
	port := listenUDP(t, func(q []byte) []byte {
		if first == nil {
			first = q[:2:2]
			return nil
		}
		return dnsReply(t, q, func(*dnsmessage.Message) {})
	})
	h := roles.Health{DNS: &roles.DNSCheck{Port: port}, Timeout: timeout}
	check(t, h, loopback, fmt.Sprintf("no answer from 127.0.0.1:%d within 50ms", port))
	h.Timeout = patient
	check(t, h, loopback, "")
	port = closedPort(t)
	check(t, roles.Health{DNS: &roles.DNSCheck{Port: port}}, loopback, fmt.Sprintf("connection refused: nothing listens on port %d", port))
}

// TestDNSQuestion: by default the root's SOA is asked for, recursively.
func TestDNSQuestion(t *testing.T) {
	got := make(chan string, 1)
	for _, c := range []struct {
		check roles.DNSCheck
		want  string
	}{
		{roles.DNSCheck{}, ". TypeSOA ClassINET true"},
		{roles.DNSCheck{Name: "www.rack.example", Type: "a"}, "www.rack.example. TypeA ClassINET true"},
		{roles.DNSCheck{Name: "rack.example.", Type: "TXT"}, "rack.example. TypeTXT ClassINET true"},
	} {
		port := listenUDP(t, func(q []byte) []byte {
			return dnsReply(t, q, func(m *dnsmessage.Message) {
				got <- fmt.Sprintln(m.Questions[0].Name, m.Questions[0].Type, m.Questions[0].Class, m.RecursionDesired)
			})
		})
		c.check.Port = port
		check(t, roles.Health{DNS: &c.check}, loopback, "")
		if s := strings.TrimSpace(<-got); s != c.want {
			t.Errorf("%+v asks %s, want %s", c.check, s, c.want)
		}
	}
	for _, c := range []roles.DNSCheck{{Type: "AXFR"}, {Name: strings.Repeat("x", 64)}, {Name: "a..b"}, {Name: strings.Repeat("x.", 130)}} {
		if err := (Checker{}).Check(t.Context(), roles.Health{DNS: &c}, loopback); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v, want an error that wraps fs.ErrInvalid", c, err)
		}
	}
}
