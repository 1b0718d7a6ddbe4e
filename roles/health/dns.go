package health

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"muster/roles"
)

// dnsTypes are the types that can be asked for.
var dnsTypes = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "NS": dnsmessage.TypeNS,
	"SOA": dnsmessage.TypeSOA, "MX": dnsmessage.TypeMX, "TXT": dnsmessage.TypeTXT,
}

// rcodes are names of answers that do not pass, as dig prints them.
var rcodes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL",
	dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
}

// checkDNS asks one question over UDP (RFC 1035 §4.2.1), with recursion desired: a resolver needs it, an
// authoritative server does not mind. It sends once: package roles asks again.
func checkDNS(ctx context.Context, c roles.DNSCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 53)
	if err != nil {
		return err
	}
	question, err := dnsQuestion(c)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", target.String())
	if err != nil {
		return explain(err, target, timeout)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}
	packet, err := query.Pack()
	if err != nil {
		return fmt.Errorf("name %q: %w: %w", c.Name, err, fs.ErrInvalid)
	}
	if _, err := conn.Write(packet); err != nil {
		return explain(err, target, timeout)
	}
	err = readDNS(conn, query.ID, question)
	var f *fault
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &f):
		return fmt.Errorf("DNS server %s %w", target, f)
	}
	return explain(err, target, timeout)
}

// dnsQuestion is what c asks. The error wraps fs.ErrInvalid.
func dnsQuestion(c roles.DNSCheck) (dnsmessage.Question, error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(c.Name, ".") + ".")
	if err != nil {
		return dnsmessage.Question{}, fmt.Errorf("name %q: %w: %w", c.Name, err, fs.ErrInvalid)
	}
	qtype := dnsmessage.TypeSOA
	if c.Type != "" {
		var ok bool
		if qtype, ok = dnsTypes[strings.ToUpper(c.Type)]; !ok {
			return dnsmessage.Question{}, fmt.Errorf("type %q is not A, AAAA, NS, SOA, MX or TXT: %w", c.Type, fs.ErrInvalid)
		}
	}
	return dnsmessage.Question{Name: name, Type: qtype, Class: dnsmessage.ClassINET}, nil
}

// readDNS waits for the answer to question. What does not belong to it is left aside, as anybody may send it, but
// told of when nothing better comes before the deadline.
func readDNS(conn net.Conn, id uint16, question dnsmessage.Question) error {
	p := make([]byte, 4096)
	var foreign error
	for {
		n, err := conn.Read(p)
		if foreign != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return foreign
		}
		if err != nil {
			return err
		}
		header, err := dnsAnswer(p[:n], id, question)
		if err != nil {
			foreign = err
			continue
		}
		return judgeDNS(header, question)
	}
}

// dnsAnswer gives the header of a packet that answers question.
func dnsAnswer(p []byte, id uint16, question dnsmessage.Question) (dnsmessage.Header, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(p)
	if err != nil {
		return header, &fault{fmt.Sprintf("answers with %d bytes, which are no DNS message", len(p))}
	}
	if header.ID != id || !header.Response {
		return header, &fault{"sends what does not answer the question"}
	}
	asked, err := parser.AllQuestions()
	switch {
	case err == nil && len(asked) == 0 && header.RCode != dnsmessage.RCodeSuccess:
		return header, nil // a server that could not read the question need not repeat it
	case err != nil || len(asked) != 1 || asked[0].Type != question.Type || asked[0].Class != question.Class ||
		!strings.EqualFold(asked[0].Name.String(), question.Name.String()):
		return header, &fault{"answers another question"}
	}
	return header, nil
}

// judgeDNS says whether an answer passes: the name exists, or does not, and the server knows.
func judgeDNS(h dnsmessage.Header, q dnsmessage.Question) error {
	if h.RCode == dnsmessage.RCodeSuccess || h.RCode == dnsmessage.RCodeNameError {
		return nil
	}
	name, ok := rcodes[h.RCode]
	if !ok {
		name = fmt.Sprintf("RCODE %d", h.RCode)
	}
	return &fault{fmt.Sprintf("answers %s to %s %s", name, q.Name, strings.TrimPrefix(q.Type.String(), "Type"))}
}
