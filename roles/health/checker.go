package health

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"muster/roles"
)

// defaultTimeout is for a Health without one.
const defaultTimeout = 3 * time.Second

// Checker implements roles.Checker. The zero value is ready, and it may be used by many goroutines.
type Checker struct{}

var _ roles.Checker = Checker{}

// Check runs the one kind of check that h has against n's address, for no longer than h.Timeout (zero: 3 s).
// The error wraps fs.ErrInvalid when n has no address or h does not have exactly one kind.
func (Checker) Check(ctx context.Context, h roles.Health, n roles.Node) error {
	if !n.Address.IsValid() {
		return fmt.Errorf("node %s has no address to check: %w", n.MAC, fs.ErrInvalid)
	}
	timeout := h.Timeout.Or(defaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case kinds(h) != 1:
		return fmt.Errorf("a health check needs exactly one of http, tcp, ntp, smtp, imap, dns, this one has %d: %w", kinds(h), fs.ErrInvalid)
	case h.HTTP != nil:
		return checkHTTP(ctx, *h.HTTP, n.Address, timeout)
	case h.TCP != nil:
		return checkTCP(ctx, *h.TCP, n.Address, timeout)
	case h.SMTP != nil:
		return checkSMTP(ctx, *h.SMTP, n.Address, timeout)
	case h.IMAP != nil:
		return checkIMAP(ctx, *h.IMAP, n.Address, timeout)
	case h.DNS != nil:
		return checkDNS(ctx, *h.DNS, n.Address, timeout)
	}
	return checkNTP(ctx, *h.NTP, n.Address, timeout)
}

// kinds counts the kinds of check in h.
func kinds(h roles.Health) int {
	n := 0
	for _, set := range []bool{h.HTTP != nil, h.TCP != nil, h.NTP != nil, h.SMTP != nil, h.IMAP != nil, h.DNS != nil} {
		if set {
			n++
		}
	}
	return n
}

// hostPort is addr with a port, or with def where that is zero. The error wraps fs.ErrInvalid.
func hostPort(addr netip.Addr, port, def int) (netip.AddrPort, error) {
	if port == 0 {
		port = def
	}
	if port < 1 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("port %d is not one of 1 to 65535: %w", port, fs.ErrInvalid)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
