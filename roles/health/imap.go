package health

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"muster/roles"
)

// checkIMAP reads a mail store's greeting and logs out (RFC 9051 §7.1, §6.1.3).
func checkIMAP(ctx context.Context, c roles.IMAPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 143)
	if err != nil {
		return err
	}
	return converse(ctx, "IMAP", target, timeout, func(t *talk) error {
		greeting, err := t.line()
		if err != nil {
			return err
		}
		// PREAUTH is a greeting, too, though a strange one; BYE is a refusal.
		if !hasWords(greeting, "* OK") && !hasWords(greeting, "* PREAUTH") {
			return answers("the connection", greeting)
		}
		if err := t.send("m1 LOGOUT"); err != nil {
			return err
		}
		for range maxLines {
			line, err := t.line()
			switch {
			case err != nil:
				return err
			case hasWords(line, "m1 OK"):
				return nil
			case !strings.HasPrefix(line, "* "):
				return answers("LOGOUT", line)
			}
		}
		return &fault{"does not end its answer to LOGOUT"}
	})
}

// hasWords reports whether line begins with words, in any case, and something else or nothing behind them.
func hasWords(line, words string) bool {
	if len(line) < len(words) || !strings.EqualFold(line[:len(words)], words) {
		return false
	}
	return len(line) == len(words) || line[len(words)] == ' '
}
