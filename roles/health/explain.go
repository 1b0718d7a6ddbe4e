package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// explained is a sentence for people over the error that is its cause.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

// explain says in a technician's words why target did not answer. It returns err itself when there is nothing
// to add.
func explain(err error, target netip.AddrPort, timeout time.Duration) error {
	var text string
	switch {
	case errors.Is(err, context.Canceled):
		return err // nobody waits for the result
	case errors.Is(err, syscall.ECONNREFUSED):
		text = fmt.Sprintf("connection refused: nothing listens on port %d of %s", target.Port(), target.Addr())
	case errors.Is(err, syscall.ECONNRESET):
		text = fmt.Sprintf("%s closed the connection before it answered", target)
	case errors.Is(err, syscall.EHOSTUNREACH):
		text = fmt.Sprintf("%s cannot be reached: it is off, or its cable or VLAN is wrong", target.Addr())
	case errors.Is(err, syscall.ENETUNREACH):
		text = fmt.Sprintf("no route to %s from this server", target.Addr())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		text = fmt.Sprintf("no answer from %s within %s", target, timeout)
	default:
		return err
	}
	return &explained{text, err}
}
