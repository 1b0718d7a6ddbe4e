package tftpd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"
	"time"
)

// Transfer tells how one request ended.
type Transfer struct {
	// Remote is the client, Local the address of ours that it asked.
	Remote netip.AddrPort
	Local  netip.Addr
	// File is the path in the server's FS; for a name that was refused, the name as it was asked for.
	File string
	// Start is when the request came; Duration is until the last acknowledgement, or the failure.
	Start    time.Time
	Duration time.Duration
	// Bytes that the client acknowledged, as they were on the wire.
	Bytes int64
	// Retransmissions counts the packets that were sent more than once.
	Retransmissions int
	// Blksize in bytes, and Windowsize in blocks, as agreed; 0 for a request that was refused.
	Blksize    int
	Windowsize int
	// Err is nil when the client has the whole file. Otherwise it wraps ErrAborted (firmware asks
	// for a file's size and then ends the transfer on purpose), ErrTimeout, ErrGone, ErrSuperseded, or
	// an error of io/fs.
	Err error
}

// errReadOnly refuses a write request.
var errReadOnly = fmt.Errorf("write request: the server is read-only: %w", fs.ErrPermission)

// transfer answers one request on its flow.
func (s *Server) transfer(ctx context.Context, flow Flow, sess *session, t *Transfer) error {
	err := s.answer(ctx, flow, sess, t)
	if code, message, ok := wireError(err); err != nil && ok {
		_ = flow.Send([]Datagram{{errorPacket(code, message)}}) // best effort, RFC 1350 §7
	}
	return err
}

// answer does what the request asks for, up to the last acknowledgement.
func (s *Server) answer(ctx context.Context, flow Flow, sess *session, t *Transfer) error {
	req, err := parseRequest(sess.request)
	t.File = req.file
	if err != nil {
		return err
	}
	if req.op == opWRQ {
		return errReadOnly
	}
	if req.mode != "octet" && req.mode != "netascii" {
		return fmt.Errorf("mode %q is not served: %w", req.mode, fs.ErrInvalid)
	}
	name, err := cleanPath(req.file)
	if err != nil {
		return err
	}
	t.File = name
	fsys := s.FS
	if s.For != nil {
		if fsys, err = s.For(ctx, sess.peer); err != nil {
			return err
		}
	}
	f, size, err := openFile(fsys, name)
	if err != nil {
		return err
	}
	defer f.Close()
	var q Quirks
	if s.Quirks != nil {
		q = s.Quirks(sess.peer, name)
	}

	r := newReader(f)
	if req.mode == "netascii" {
		r, size = newNetascii(f), -1
	}
	client := sess.peer.Remote.Addr()
	agreed := negotiate(req.options, s.offer(flow, size, q, s.weak.window(client, t.Start)))
	t.Blksize, t.Windowsize = agreed.blksize, agreed.window
	snd := s.newSender(flow, sess.hear)
	snd.rollover = q.Rollover
	snd.blocks, snd.window = newBlocks(r, agreed.blksize, agreed.window), agreed.window
	if len(agreed.oack) > 0 {
		snd.oack = oackPacket(agreed.oack)
	}
	if agreed.timeout > 0 {
		// Only when the client has shown that it is there: a request with a forged address does not hold a
		// transfer for as long as it likes.
		snd.agreed = func() { snd.wait, snd.maxWait, snd.exact = agreed.timeout, agreed.timeout, true }
	}
	err = flow.Run(ctx, snd)
	t.Retransmissions, t.Bytes = snd.retransmissions, snd.bytes
	if snd.pace.weak() {
		s.weak.note(client, agreed.window, time.Now())
	}
	return err
}

// openFile opens a regular file and tells its size. Anything else than a file is none that a TFTP client can
// have, so it does not exist; it is not opened either where the FS can tell, as that would block for ever
// on a named pipe.
func openFile(fsys fs.FS, name string) (_ fs.File, _ int64, err error) {
	defer func() {
		// A name below a file, or too long for the file system: there is no such file.
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
			err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
	}()
	if sfs, ok := fsys.(fs.StatFS); ok {
		info, err := sfs.Stat(name)
		if err != nil {
			return nil, 0, err
		}
		if !info.Mode().IsRegular() {
			return nil, 0, fmt.Errorf("%q is not a file: %w", name, fs.ErrNotExist)
		}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a file: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// offer is what can be done for a file of this size on this flow. weak bounds the window, unless it is 0.
func (s *Server) offer(flow Flow, size int64, q Quirks, weak int) offer {
	o := offer{blksize: s.blksizeFor(flow), window: maxWindow, size: size}
	if q.MaxBlksize > 0 {
		o.blksize = max(minBlksize, min(q.MaxBlksize, o.blksize))
	}
	for _, w := range []int{q.MaxWindow, weak} {
		if w > 0 {
			o.window = min(o.window, w)
		}
	}
	return o
}

// blksizeFor is the largest block on this flow.
func (s *Server) blksizeFor(flow Flow) int {
	if s.MaxBlksize > 0 {
		return max(minBlksize, min(s.MaxBlksize, maxBlksize))
	}
	if p := flow.MaxPayload(); p > 0 {
		return max(minBlksize, min(p-headerLen, maxBlksize))
	}
	return maxEthernet
}

// maxEthernet is the block that fits an Ethernet packet under IPv6, in bytes; it is used where the path's
// MTU is not known.
const maxEthernet = 1500 - overhead6 - headerLen
