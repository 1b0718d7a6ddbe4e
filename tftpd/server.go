package tftpd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of a Server's fields.
const (
	// defaultMaxTransfers: a rack row of 1,000 machines that are switched on at once are all served. A
	// transfer costs a socket and, in lock-step, less than 64 KiB.
	defaultMaxTransfers = 1000
	// defaultTimeout: firmware repeats its requests after one to four seconds, so that a lost
	// packet is mended before it starts again.
	defaultTimeout = time.Second
	// maxBackoff bounds the doubling: longer waits help nobody, as firmware has given up by then.
	maxBackoff = 8 * time.Second
	// defaultRetries: 1+2+4+8+8+8 = 31 s until a silent client is given up. Firmware's own
	// patience ends between 6 s and 30 s.
	defaultRetries = 5
)

// Server serves files by TFTP. Its fields are not changed once Serve runs.
type Server struct {
	// FS holds the files, read-only. Names are what clients ask for without leading slashes; ".." never
	// leads outside. Errors become ERROR packets: NotExist 1, Permission 2, Invalid 4, Exist 6,
	// others 0, with the details in the log alone. Required.
	FS fs.FS
	// For gives the files for one client. Nil means FS for all. It may wait; its error is the client's.
	For func(ctx context.Context, peer Peer) (fs.FS, error)
	// MaxTransfers is how many transfers go on at once; zero means 1000. As many requests wait for a place, and
	// each client's address has its turn. One beyond that is dropped without an answer: an ERROR would make
	// firmware give up and boot its disk, but silence makes it ask again, a few seconds later.
	MaxTransfers int
	// MaxPerClient is how many of them may be of one address; zero means a quarter of MaxTransfers, as behind a
	// NAT a row of machines has one. As many of its requests may wait.
	MaxPerClient int
	// Quirks says what a client's firmware needs for a file. Nil means nothing.
	Quirks func(peer Peer, file string) Quirks
	// MaxBlksize is the largest block in bytes, 8 to 65464 (RFC 2348). Zero means as large as fits
	// one packet of the path, 1468 on Ethernet: fragments are what firmware loses. A value is taken
	// as it is, even where it makes fragments.
	MaxBlksize int
	// Timeout is how long a packet may go without acknowledgement before it is sent again, for the first
	// time; zero means 1 s. It doubles with every retransmission, up to 8 s or Timeout itself. A client
	// that asks for the option timeout (RFC 2349) has its own, which does not double.
	Timeout time.Duration
	// Retries is how many retransmissions in a row go without an acknowledgement until the client is given
	// up; zero means 5, with the default Timeout after 31 s. Negative means none.
	Retries int
	// Observe is called at the end of every request, whether it was served or refused, in the
	// transfer's goroutine: it may be called several times at once. Nil means nobody.
	Observe func(Transfer)
	// Log gets one line for every request; nil is silent.
	Log *slog.Logger
	// Metrics is where muster_tftpd_* are registered; nil means nowhere.
	Metrics prometheus.Registerer

	weak    weaknesses
	once    sync.Once
	metrics *metrics
	regErr  error
}

// Serve answers the requests that come to conn until ctx ends, and then ends the transfers, with an ERROR to
// each client, so that it can turn to another server at once. It closes conn, and returns nil on a clean
// stop. It may run for several Conns at the same time; MaxTransfers counts for each.
func (s *Server) Serve(ctx context.Context, conn Conn) error {
	defer conn.Close()
	s.once.Do(func() { s.metrics, s.regErr = newMetrics(s.Metrics) })
	if s.regErr != nil {
		return fmt.Errorf("tftpd: %w", s.regErr)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	// The transfers' context is one of its own, so that they learn why they end.
	tctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &loop{Server: s, conn: conn, active: newSessions(s.MaxTransfers, s.MaxPerClient)}
	defer l.wg.Wait()
	defer cancel(errStopping) // before Wait: it is what the transfers wait for

	buf := make([]byte, maxRequest)
	for {
		n, peer, err := conn.ReadRequest(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			s.metrics.drop("receive")
			s.log().Warn("tftp receive", "err", err)
			// The socket is broken or memory is short: do not spin while it lasts.
			if !sleep(ctx, 10*time.Millisecond) {
				return nil
			}
			continue
		}
		l.begin(tctx, peer, buf[:n])
	}
}

// loop is one running Serve.
type loop struct {
	*Server
	conn   Conn
	active *sessions
	wg     sync.WaitGroup
}

// begin starts the transfer that a packet asks for, in a goroutine that ends with the transfer.
func (l *loop) begin(ctx context.Context, peer Peer, p []byte) {
	if !isRequest(p) || peer.Remote.Port() == 0 {
		l.metrics.drop("malformed") // an answer could only confuse whoever it reaches
		return
	}
	sess, err := l.active.start(ctx, peer, p)
	if err != nil {
		l.metrics.drop(dropReason(err))
		l.log().Debug("tftp request dropped", "remote", peer.Remote, "err", err)
		return
	}
	l.metrics.queued(l.active)
	if sess == nil {
		return
	}
	l.wg.Go(func() {
		for sess != nil {
			l.serve(sess)
			sess = sess.end(ctx)
			l.metrics.queued(l.active)
		}
	})
}

// serve makes one transfer and tells of it.
func (l *loop) serve(sess *session) {
	l.metrics.begin()
	t := Transfer{Remote: sess.peer.Remote, Local: sess.peer.Local, Start: time.Now()}
	flow, err := l.conn.Open(sess.peer)
	if err == nil {
		err = l.transfer(sess.ctx, flow, sess, &t)
		if cerr := flow.Close(); cerr != nil {
			l.log().Debug("tftp close", "remote", t.Remote, "err", cerr)
		}
	}
	t.Err = err
	t.Duration = time.Since(t.Start)
	l.metrics.end(t)
	l.logEnd(t)
	if l.Observe != nil {
		l.Observe(t)
	}
}

// logEnd writes the transfer's line. What firmware does all day, asking for files that are not there and
// ending transfers after the size, is no warning.
func (s *Server) logEnd(t Transfer) {
	args := []any{"remote", t.Remote, "file", t.File, "bytes", t.Bytes, "duration", t.Duration,
		"retransmissions", t.Retransmissions, "blksize", t.Blksize, "windowsize", t.Windowsize}
	switch {
	case t.Err == nil:
		s.log().Info("tftp sent", args...)
	case errors.Is(t.Err, ErrAborted), errors.Is(t.Err, fs.ErrNotExist), errors.Is(t.Err, ErrSuperseded):
		s.log().Info("tftp not sent", append(args, "err", t.Err)...)
	default:
		s.log().Warn("tftp failed", append(args, "err", t.Err)...)
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// newSender gives the flow's sender the server's patience.
func (s *Server) newSender(flow Flow, hear func(time.Time)) *sender {
	snd := &sender{flow: flow, hear: hear, wait: s.Timeout, retries: s.Retries}
	if snd.wait <= 0 {
		snd.wait = defaultTimeout
	}
	snd.maxWait = max(snd.wait, maxBackoff)
	switch {
	case s.Retries == 0:
		snd.retries = defaultRetries
	case s.Retries < 0:
		snd.retries = 0
	}
	return snd
}

// sleep waits for d; it returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
