package nfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Programs that we call (RFC 1813 §2.6 and §5.1, RFC 1833 §3).
const (
	programNFS        = 100003
	programMount      = 100005
	version3          = 3
	programPortmapper = 100000
	portmapperVersion = 2
	portmapperPort    = 111
	getPort           = 3 // PMAPPROC_GETPORT
)

// ping calls the NULL procedure of version 3 of a program over TCP (RFC 5531): it tells a server that
// answers from one that only listens.
func ping(ctx context.Context, port int, program uint32) error {
	var none [0]uint32
	if err := call(ctx, port, program, version3, 0, nil, none[:]); err != nil {
		return fmt.Errorf("nfs: ping: %w", err)
	}
	return nil
}

// mapped asks this machine's portmapper for a program's TCP port; 0: it has none, or does not answer.
func mapped(ctx context.Context, program uint32) int {
	const tcp = 6
	var port [1]uint32
	if call(ctx, portmapperPort, programPortmapper, portmapperVersion, getPort, []uint32{program, version3, tcp, 0}, port[:]) != nil {
		return 0
	}
	return int(port[0])
}

// call calls a procedure on this machine, whose arguments and results are numbers.
func call(ctx context.Context, port int, program, version, procedure uint32, args, results []uint32) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	const xid = 0x6d757374
	// xid, CALL, RPC version 2, program, version, procedure, two empty AUTH_NONE fields; in front of all a
	// record mark: last fragment, length.
	request := append([]uint32{0, xid, 0, 2, program, version, procedure, 0, 0, 0, 0}, args...)
	request[0] = 1<<31 | uint32(4*(len(request)-1))
	if err := binary.Write(conn, binary.BigEndian, request); err != nil {
		return err
	}
	// Mark, xid, REPLY, accepted or denied, verifier (empty), status.
	var reply [7]uint32
	if err := binary.Read(conn, binary.BigEndian, &reply); err != nil {
		return err
	}
	if reply[1] != xid || reply[2] != 1 || reply[3] != 0 || reply[6] != 0 {
		return fmt.Errorf("program %d version %d refused: %w", program, version, errors.ErrUnsupported)
	}
	return binary.Read(conn, binary.BigEndian, results)
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
