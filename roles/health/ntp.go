package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"muster/roles"
)

// Fields of an NTP packet (RFC 5905 §7.3).
const (
	ntpLen        = 48
	ntpClient     = 4<<3 | 3 // version 4, mode 3
	ntpServer     = 4        // mode of an answer
	ntpMaxStratum = 15       // 16 is unsynchronized
	ntpAlarm      = 3        // leap indicator: clock not synchronized
)

// ntpOrigin and ntpTransmit are the places of the timestamps that are compared.
const (
	ntpRefID    = 12
	ntpOrigin   = 24
	ntpTransmit = 40
)

// errForeign is for a packet that does not answer the request.
var errForeign = errors.New("its answer does not carry the request's timestamp")

// checkNTP asks for the time as a client does. It sends once: package roles asks again.
func checkNTP(ctx context.Context, c roles.NTPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 123)
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

	request := make([]byte, ntpLen)
	request[0] = ntpClient
	// The transmit timestamp is random: all the server does is to send it back, and nobody who does
	// not see the request can guess it.
	if _, err := rand.Read(request[ntpTransmit:]); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return explain(err, target, timeout)
	}
	err = readNTP(conn, request)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, errForeign):
		return fmt.Errorf("NTP server %s: %w", target, errForeign)
	}
	var fault *ntpFault
	if errors.As(err, &fault) {
		return fmt.Errorf("NTP server %s %w", target, fault)
	}
	if err != nil {
		return explain(err, target, timeout)
	}
	return nil
}

// readNTP waits for the answer to request. Packets that do not carry its timestamp are left aside (RFC 5905 §8,
// TEST2), but told of when nothing better comes before the deadline.
func readNTP(conn net.Conn, request []byte) error {
	p := make([]byte, 1024)
	foreign := false
	for {
		n, err := conn.Read(p)
		if foreign && errors.Is(err, os.ErrDeadlineExceeded) {
			return errForeign
		}
		if err != nil {
			return err
		}
		if n < ntpLen {
			return &ntpFault{fmt.Sprintf("answers with %d bytes, which is no NTP packet", n)}
		}
		if !bytes.Equal(p[ntpOrigin:ntpOrigin+8], request[ntpTransmit:]) {
			foreign = true
			continue
		}
		return judgeNTP(p[:n])
	}
}

// ntpFault is what is wrong with an answer.
type ntpFault struct{ text string }

func (f *ntpFault) Error() string { return f.text }

// judgeNTP says whether a clock may be set by an answer.
func judgeNTP(p []byte) error {
	leap, mode, stratum := p[0]>>6, p[0]&7, p[1]
	switch {
	case mode != ntpServer:
		return &ntpFault{fmt.Sprintf("answers in mode %d instead of %d (server)", mode, ntpServer)}
	case stratum == 0:
		return &ntpFault{fmt.Sprintf("refuses with the kiss code %q (RFC 5905 §7.4)", kissCode(p))}
	case stratum > ntpMaxStratum:
		return &ntpFault{fmt.Sprintf("is not synchronized: stratum %d", stratum)}
	case leap == ntpAlarm:
		return &ntpFault{"is not synchronized: it says so in its leap indicator"}
	case bytes.Equal(p[ntpTransmit:ntpTransmit+8], make([]byte, 8)):
		return &ntpFault{"answers without the time"}
	}
	return nil
}

// kissCode is the reason in a packet of stratum 0.
func kissCode(p []byte) string {
	return strings.TrimRight(string(p[ntpRefID:ntpRefID+4]), "\x00")
}
