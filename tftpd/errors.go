package tftpd

import (
	"errors"
	"io/fs"
)

// ErrGone is returned when the client's port is closed (ICMP port unreachable): nobody waits for the
// rest of the transfer.
var ErrGone = errors.New("the client is gone: its port is closed")

// ErrAborted is returned when the client ended the transfer with an ERROR packet. Firmware does so on
// purpose after it has asked for the size of a file (option tsize).
var ErrAborted = errors.New("ended by the client")

// ErrTimeout is returned when the client did not acknowledge within all retransmissions.
var ErrTimeout = errors.New("the client does not answer")

// ErrSuperseded is returned when the client began another transfer from the same port.
var ErrSuperseded = errors.New("the client began again from the same port")

// errHalfOpen is returned when the client was never heard, and others needed its place.
var errHalfOpen = errors.New("the client did not follow its request up, and others wait")

// errStopping is returned when the server stops in the middle of a transfer.
var errStopping = errors.New("the server is stopping")

// Error codes of RFC 1350 (appendix).
const (
	codeUndefined  = 0
	codeNotFound   = 1
	codeAccess     = 2
	codeIllegal    = 4
	codeFileExists = 6
)

// wireError says what a client is told of err: a code and a message without details. ok is false when
// the client needs no answer: it ended the transfer itself, or is gone.
func wireError(err error) (code uint16, message string, ok bool) {
	switch {
	case errors.Is(err, ErrAborted), errors.Is(err, ErrGone), errors.Is(err, ErrSuperseded), errors.Is(err, errHalfOpen):
		return 0, "", false
	case errors.Is(err, ErrTimeout):
		return codeUndefined, "no acknowledgement received", true
	case errors.Is(err, errStopping):
		return codeUndefined, "server is stopping", true
	case errors.Is(err, errReadOnly):
		return codeAccess, "this server is read-only", true
	case errors.Is(err, fs.ErrNotExist):
		return codeNotFound, "file not found", true
	case errors.Is(err, fs.ErrPermission):
		return codeAccess, "access denied", true
	case errors.Is(err, fs.ErrInvalid):
		return codeIllegal, "bad request", true
	case errors.Is(err, fs.ErrExist):
		return codeFileExists, "file already exists", true
	}
	return codeUndefined, "internal error", true
}
