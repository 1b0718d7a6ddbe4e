package nfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Programs that we ping (RFC 1813 §2.6 and §5.1).
const (
	programNFS   = 100003
	programMount = 100005
	version3     = 3
)

// ping calls the NULL procedure of version 3 of a program over TCP (RFC 5531): it tells a server that
// answers from one that only listens.
func ping(ctx context.Context, port int, program uint32) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("nfs: ping: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("nfs: ping: %w", err)
	}
	const xid = 0x6d757374
	// Record mark (last fragment, 40 bytes); xid, CALL, RPC version 2, program, version, procedure 0,
	// two empty AUTH_NONE fields.
	call := []uint32{1<<31 | 40, xid, 0, 2, program, version3, 0, 0, 0, 0, 0}
	if err := binary.Write(conn, binary.BigEndian, call); err != nil {
		return fmt.Errorf("nfs: ping: %w", err)
	}
	// Mark, xid, REPLY, accepted or denied, verifier (empty), status.
	var reply [7]uint32
	if err := binary.Read(io.LimitReader(conn, 28), binary.BigEndian, &reply); err != nil {
		return fmt.Errorf("nfs: ping: %w", err)
	}
	if reply[1] != xid || reply[2] != 1 || reply[3] != 0 || reply[6] != 0 {
		return fmt.Errorf("nfs: ping: program %d refused: %w", program, errors.ErrUnsupported)
	}
	return nil
}

// untilAnswers waits until NFS and mountd on this machine answer. Its error holds ctx's and the last ping's.
func untilAnswers(ctx context.Context, port, mountPort int) error {
	for {
		err := errors.Join(ping(ctx, port, programNFS), ping(ctx, mountPort, programMount))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
