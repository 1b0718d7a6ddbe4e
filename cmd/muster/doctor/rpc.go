package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Programs and procedures (RFC 1813 §3.3.1 and appendix I).
const (
	nfsProgram   = 100003
	mountProgram = 100005
	version3     = 3
	procGetattr  = 1
	procMount    = 1
	procUnmount  = 3
)

// replyMax bounds an answer: the largest that we ask for has some 200 bytes.
const replyMax = 64 << 10

// rpc is a connection to an ONC RPC server over TCP (RFC 5531).
type rpc struct {
	conn net.Conn
	xid  uint32
}

// dialRPC connects, from a reserved port where it may: mountd of many servers insists on one.
func dialRPC(ctx context.Context, server netip.Addr, port int) (*rpc, error) {
	target := netip.AddrPortFrom(server, uint16(port)).String()
	var conn net.Conn
	var err error
	for local := 1023; local > 1000; local-- {
		d := net.Dialer{Timeout: 3 * time.Second, LocalAddr: &net.TCPAddr{Port: local}}
		if conn, err = d.DialContext(ctx, "tcp4", target); err == nil || !isBusy(err) {
			break
		}
	}
	if errors.Is(err, errDenied) || conn == nil && isBusy(err) {
		d := net.Dialer{Timeout: 3 * time.Second}
		conn, err = d.DialContext(ctx, "tcp4", target)
	}
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(timeout)
	}
	return &rpc{conn: conn, xid: uint32(time.Now().UnixNano())}, conn.SetDeadline(deadline)
}

// call sends a procedure call as root (AUTH_SYS, RFC 5531 §14 and appendix A) and returns the results.
func (r *rpc) call(program, procedure uint32, args []byte) ([]byte, error) {
	r.xid++
	words := []uint32{0, r.xid, 0, 2, program, version3, procedure,
		1, 20, 0, 0, 0, 0, 0, // AUTH_SYS, 20 bytes: stamp, machine name "", uid 0, gid 0, no more groups
		0, 0} // verifier: AUTH_NONE
	var b []byte
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	b = append(b, args...)
	binary.BigEndian.PutUint32(b, 1<<31|uint32(len(b)-4)) // the last fragment
	if _, err := r.conn.Write(b); err != nil {
		return nil, err
	}
	reply, err := r.record()
	if err != nil {
		return nil, err
	}
	return results(reply, r.xid)
}

// record reads one record: fragments until the last (RFC 5531 §11).
func (r *rpc) record() ([]byte, error) {
	var out []byte
	for {
		var mark uint32
		if err := binary.Read(r.conn, binary.BigEndian, &mark); err != nil {
			return nil, err
		}
		n := int(mark &^ (1 << 31))
		if len(out)+n > replyMax {
			return nil, fmt.Errorf("an answer of %d bytes", len(out)+n)
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(r.conn, part); err != nil {
			return nil, err
		}
		out = append(out, part...)
		if mark>>31 == 1 {
			return out, nil
		}
	}
}

var errAnswer = errors.New("the answer is not one of an RPC server")

// results takes the header off a reply (RFC 5531 §9).
func results(b []byte, xid uint32) ([]byte, error) {
	d := decoder{b: b}
	if d.uint32() != xid || d.uint32() != 1 {
		return nil, errAnswer
	}
	if d.uint32() != 0 {
		return nil, errors.New("the server denies the call (version or authentication)")
	}
	d.uint32() // verifier: flavour
	d.opaque() // and body
	switch status := d.uint32(); {
	case d.short:
		return nil, errAnswer
	case status == 1 || status == 2:
		return nil, errors.New("the server does not have version 3 of the program")
	case status != 0:
		return nil, fmt.Errorf("the server does not take the call (status %d)", status)
	}
	return d.b, nil
}

// decoder reads XDR (RFC 4506). Once there is too little, short is set and everything is zero.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.b, d.short = nil, true
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) opaque() []byte {
	n := int(d.uint32())
	padded := (n + 3) &^ 3
	if padded < 0 || padded > len(d.b) {
		d.b, d.short = nil, true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[padded:]
	return v
}

// opaque encodes a counted, padded byte string.
func opaque(v []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(v)))
	b = append(b, v...)
	return append(b, make([]byte, -len(v)&3)...)
}
