package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// maxLine is the length of a line that is read, in bytes: an SMTP reply has at most 512 (RFC 5321 §4.5.3.1.5), and
// IMAP servers like to list what they can in their greeting.
const maxLine = 8 << 10

// maxLines is how many lines one answer may have.
const maxLines = 100

// clipped is how much of a server's words a message for people repeats.
const clipped = 120

// talk is a conversation in lines, as SMTP and IMAP are.
type talk struct {
	protocol string // for messages
	conn     net.Conn
	r        *bufio.Reader
}

// fault is what is wrong with what a server said.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

// converse connects to target and lets say talk with it, until ctx ends. Its error is a sentence.
func converse(ctx context.Context, protocol string, target netip.AddrPort, timeout time.Duration, say func(*talk) error) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.String())
	if err != nil {
		return explain(err, target, timeout)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	err = say(&talk{protocol, conn, bufio.NewReaderSize(conn, maxLine)})
	var f *fault
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &f):
		return fmt.Errorf("%s server %s %w", protocol, target, f)
	case errors.Is(err, io.EOF):
		return &explained{fmt.Sprintf("%s closed the connection before it answered", target), err}
	}
	return explain(err, target, timeout)
}

// line reads one line, without its end.
func (t *talk) line() (string, error) {
	b, err := t.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", &fault{fmt.Sprintf("answers with a line of more than %d bytes, which is no %s", maxLine, t.protocol)}
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// send writes one line.
func (t *talk) send(line string) error {
	_, err := io.WriteString(t.conn, line+"\r\n")
	return err
}

// answers is the fault of a server that said line after what.
func answers(what, line string) error {
	if len(line) > clipped {
		line = line[:clipped] + "…"
	}
	return &fault{fmt.Sprintf("answers %s with %q", what, line)}
}
