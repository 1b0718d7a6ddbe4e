package tftpd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
)

// Opcodes (RFC 1350 §5, RFC 2347).
const (
	opRRQ   = 1
	opWRQ   = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// headerLen is the opcode and block number before a block's bytes.
const headerLen = 4

// maxRequest is the largest request that is read, in bytes. RFC 2347 allows 512; UEFI firmware with
// long paths and options has been a little over.
const maxRequest = 2048

// request is a read or write request (RFC 1350 §5, RFC 2347).
type request struct {
	op      uint16
	file    string
	mode    string // lower case
	options []option
}

// option is one option of a request or an OACK; its name is in lower case.
type option struct{ name, value string }

// isRequest tells by the opcode whether a packet asks for a transfer.
func isRequest(p []byte) bool {
	return len(p) > 2 && p[0] == 0 && (p[1] == opRRQ || p[1] == opWRQ)
}

// parseRequest reads an RRQ or WRQ. File and mode must be there and ended; what follows is read as
// options for as long as it makes sense, because firmware pads its requests with zeros and cuts them off.
// The error wraps fs.ErrInvalid; the request's op is set whenever there is one.
func parseRequest(p []byte) (request, error) {
	if len(p) < 2 {
		return request{}, fmt.Errorf("packet of %d bytes is no request: %w", len(p), fs.ErrInvalid)
	}
	r := request{op: binary.BigEndian.Uint16(p)}
	if r.op != opRRQ && r.op != opWRQ {
		return r, fmt.Errorf("opcode %d is no request: %w", r.op, fs.ErrInvalid)
	}
	var ok bool
	if r.file, p, ok = cutString(p[2:]); !ok || r.file == "" {
		return r, fmt.Errorf("request without a file: %w", fs.ErrInvalid)
	}
	if r.mode, p, ok = cutString(p); !ok || r.mode == "" {
		return r, fmt.Errorf("request for %q without a mode: %w", r.file, fs.ErrInvalid)
	}
	r.mode = strings.ToLower(r.mode)
	r.options = parseOptions(p)
	return r, nil
}

// parseOptions reads pairs of name and value. Of an option that comes twice the first counts: RFC 2347
// says that it may be there once.
func parseOptions(p []byte) []option {
	var opts []option
	for {
		name, rest, ok := cutString(p)
		if !ok || name == "" {
			return opts
		}
		value, rest, ok := cutString(rest)
		if !ok {
			return opts
		}
		p = rest
		o := option{strings.ToLower(name), value}
		if _, twice := find(opts, o.name); !twice {
			opts = append(opts, o)
		}
	}
}

// find gives the value of the named option.
func find(opts []option, name string) (string, bool) {
	for _, o := range opts {
		if o.name == name {
			return o.value, true
		}
	}
	return "", false
}

// cutString takes a string that a zero byte ends off p.
func cutString(p []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(p, 0)
	if i < 0 {
		return "", p, false
	}
	return string(p[:i]), p[i+1:], true
}

// oackPacket is an option acknowledgement (RFC 2347).
func oackPacket(opts []option) []byte {
	return appendStrings([]byte{0, opOAck}, opts)
}

// appendStrings appends options as they are on the wire.
func appendStrings(p []byte, opts []option) []byte {
	for _, o := range opts {
		p = append(append(p, o.name...), 0)
		p = append(append(p, o.value...), 0)
	}
	return p
}

// errorPacket is an ERROR (RFC 1350 §5).
func errorPacket(code uint16, message string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, opError}, code)
	return append(append(p, message...), 0)
}

// maxErrorText bounds what is kept of a client's error message, in bytes.
const maxErrorText = 128

// parseAnswer reads what a client sends in the middle of a transfer. It returns the block number of an
// ACK; ok is false for a packet that means nothing here. The error wraps ErrAborted for an ERROR.
func parseAnswer(p []byte) (block uint16, ok bool, err error) {
	if len(p) < headerLen {
		return 0, false, nil
	}
	n := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case opAck:
		return n, true, nil
	case opError:
		text := p[headerLen:min(len(p), headerLen+maxErrorText)]
		text, _, _ = bytes.Cut(text, []byte{0})
		return 0, false, fmt.Errorf("%w: error %d %q", ErrAborted, n, text)
	}
	return 0, false, nil
}
