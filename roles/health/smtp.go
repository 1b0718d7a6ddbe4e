package health

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"muster/roles"
)

// checkSMTP greets a mail server as a client does and leaves (RFC 5321 §3.1, §3.2). A server that is up and takes
// no mail says so in its greeting: 554, or 421 when it is overloaded.
func checkSMTP(ctx context.Context, c roles.SMTPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 25)
	if err != nil {
		return err
	}
	return converse(ctx, "SMTP", target, timeout, func(t *talk) error {
		if err := t.reply("the connection", "220"); err != nil {
			return err
		}
		if err := t.send("EHLO " + literal(t.conn.LocalAddr())); err != nil {
			return err
		}
		if err := t.reply("EHLO", "250"); err != nil {
			return err
		}
		if err := t.send("QUIT"); err != nil {
			return err
		}
		// A server that hangs up without a word has still said everything that counts.
		var f *fault
		if err := t.reply("QUIT", "221"); errors.As(err, &f) || ctx.Err() != nil {
			return err
		}
		return nil
	})
}

// literal names this host by its address (RFC 5321 §4.1.3): it may have no name that a mail server would accept.
func literal(a net.Addr) string {
	ip := netip.MustParseAddrPort(a.String()).Addr().Unmap()
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.WithZone("").String() + "]"
}

// reply reads a reply of one or more lines (RFC 5321 §4.2.1), which must have the code.
func (t *talk) reply(what, code string) error {
	for range maxLines {
		line, err := t.line()
		switch {
		case err != nil:
			return err
		case len(line) < 3 || line[:3] != code || len(line) > 3 && line[3] != ' ' && line[3] != '-':
			return answers(what, line)
		case len(line) == 3 || line[3] == ' ':
			return nil
		}
	}
	return &fault{"does not end its answer to " + what}
}
