package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// load is a generator of DHCP exchanges that costs less than a server does: one relay, packets made once and
// patched, sent and read in batches. perfdhcp needs a core of its own long before a server is busy.
type load struct {
	conn   *net.UDPConn
	pc     *ipv4.PacketConn
	server *net.UDPAddr
	relay  [4]byte
	linger time.Duration // how long a run waits for late answers
	next   uint32        // number of the next client, which no run before had
	// holders has the client that each address was acknowledged to, in any run.
	holders map[uint32]uint32
}

// loadResult is what a run of load saw.
type loadResult struct {
	begun, acked int
	took         time.Duration
	latency      []time.Duration // REQUEST to ACK, sorted
	twice        int             // addresses that were acknowledged to two clients
}

func (r *loadResult) rate() float64 { return float64(r.acked) / r.took.Seconds() }
func (r *loadResult) lost() float64 { return 1 - float64(r.acked)/float64(max(r.begun, 1)) }
func (r *loadResult) quantile(q float64) time.Duration {
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[min(len(r.latency)-1, int(q*float64(len(r.latency))))]
}

const loadBatch = 64

// newLoad opens the relay's socket in the named network namespace.
func newLoad(namespace string, relay, server net.IP) (*load, error) {
	var conn *net.UDPConn
	err := inside(namespace, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: relay, Port: 67})
		return err
	})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(16 << 20)
	return &load{conn: conn, linger: time.Second, pc: ipv4.NewPacketConn(conn), server: &net.UDPAddr{IP: server, Port: 67}, holders: map[uint32]uint32{}, relay: [4]byte(relay.To4())}, nil
}

func (l *load) close() { _ = l.conn.Close() }

// run4 is one run of a load.
type run4 struct {
	*load
	first  uint32
	limit  int            // clients at most
	sent   []atomic.Int64 // when client i sent its REQUEST
	mu     sync.Mutex     // guards out
	out    *sender
	result loadResult
	window chan struct{} // a token for each exchange under way; nil in an open loop
}

// open begins rate exchanges each second for a time, whatever the answers.
func (l *load) open(ctx context.Context, rate int, d time.Duration) loadResult {
	r := l.begin(int(float64(rate)*d.Seconds()), 0)
	done := r.receive(ctx)
	start := time.Now()
	for r.result.begun < r.limit && ctx.Err() == nil {
		due := min(r.limit, int(time.Since(start).Seconds()*float64(rate)))
		if r.result.begun >= due {
			time.Sleep(500 * time.Microsecond)
			continue
		}
		r.discover(due - r.result.begun)
	}
	return r.finish(done, start)
}

// closed keeps window exchanges under way for a time, or until limit are begun: the most that a server can do.
func (l *load) closed(ctx context.Context, window, limit int, d time.Duration) loadResult {
	r := l.begin(limit, window)
	done := r.receive(ctx)
	start := time.Now()
	for r.result.begun < limit && time.Since(start) < d && ctx.Err() == nil {
		select {
		case <-r.window:
		case <-time.After(100 * time.Millisecond):
			continue
		}
		n := 1
		for n < loadBatch && len(r.window) > 0 && r.result.begun+n < limit {
			<-r.window
			n++
		}
		r.discover(n)
	}
	return r.finish(done, start)
}

// until keeps exchanges under way until enough is closed.
func (l *load) until(enough <-chan struct{}) loadResult {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := l.begin(100_000, 64)
	done := r.receive(ctx)
	start := time.Now()
	for open := true; open && r.result.begun < r.limit; {
		select {
		case <-enough:
			open = false
		case <-r.window:
			r.discover(1)
		}
	}
	return r.finish(done, start)
}

func (l *load) begin(limit, window int) *run4 {
	r := &run4{load: l, first: l.next, limit: limit, sent: make([]atomic.Int64, limit), out: newSender(l)}
	if window > 0 {
		r.window = make(chan struct{}, window)
		for range window {
			r.window <- struct{}{}
		}
	}
	return r
}

// finish waits for late answers.
func (r *run4) finish(done <-chan time.Time, start time.Time) loadResult {
	_ = r.conn.SetReadDeadline(time.Now().Add(r.linger))
	last := <-done
	r.next += uint32(r.result.begun)
	r.result.took = last.Sub(start)
	slices.Sort(r.result.latency)
	return r.result
}

func (r *run4) discover(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.out.discover(r.first + uint32(r.result.begun))
		r.result.begun++
	}
	r.out.flush()
}

// receive answers offers and counts acknowledgements until the read deadline; it gives the time of the last.
func (r *run4) receive(ctx context.Context) <-chan time.Time {
	done := make(chan time.Time, 1)
	_ = r.conn.SetReadDeadline(time.Time{})
	go func() { // ends at the read deadline, which finish sets
		last := time.Now()
		defer func() { done <- last }()
		ms := make([]ipv4.Message, loadBatch)
		for i := range ms {
			ms[i].Buffers = [][]byte{make([]byte, 1500)}
		}
		for ctx.Err() == nil {
			n, err := r.pc.ReadBatch(ms, 0)
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return
			}
			now := time.Now()
			r.mu.Lock()
			for _, m := range ms[:max(n, 0)] {
				if r.answer(m.Buffers[0][:m.N], now) {
					last = now
				}
			}
			r.out.flush()
			r.mu.Unlock()
		}
	}()
	return done
}

// answer reads one reply, and reports whether it was an ACK. r.mu is held.
func (r *run4) answer(b []byte, now time.Time) bool {
	if len(b) < 244 {
		return false
	}
	client := binary.BigEndian.Uint32(b[4:])
	i := int(client - r.first)
	if i < 0 || i >= r.limit {
		return false
	}
	var kind byte
	var server []byte
	for o := b[240:]; len(o) >= 2 && o[0] != 255 && len(o) >= 2+int(o[1]); o = o[2+int(o[1]):] {
		switch o[0] {
		case 53:
			kind = o[2]
		case 54:
			server = o[2:6]
		}
	}
	switch kind {
	case 2:
		if len(server) == 4 && r.sent[i].Load() == 0 {
			r.sent[i].Store(now.UnixNano())
			r.out.request(client, b[16:20], server)
		}
	case 5:
		a := binary.BigEndian.Uint32(b[16:])
		if other, ok := r.holders[a]; ok && other != client {
			r.result.twice++
		}
		r.holders[a] = client
		r.result.acked++
		r.result.latency = append(r.result.latency, now.Sub(time.Unix(0, r.sent[i].Load())))
		if r.window != nil {
			select {
			case r.window <- struct{}{}:
			default:
			}
		}
		return true
	}
	return false
}

// offered asks again for clients of runs before, and gives those that are offered another address than theirs, and
// those that are offered none.
func (l *load) offered(want map[uint32]uint32) (wrong, silent int) {
	out := newSender(l)
	for client := range want {
		out.discover(client)
	}
	out.flush()
	left := maps.Clone(want)
	buf := make([]byte, 1500)
	_ = l.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for len(left) > 0 {
		n, err := l.conn.Read(buf)
		if err != nil {
			break
		}
		client := binary.BigEndian.Uint32(buf[4:])
		addr, ok := left[client]
		if n < 244 || !ok {
			continue
		}
		delete(left, client)
		if binary.BigEndian.Uint32(buf[16:]) != addr {
			wrong++
		}
	}
	return wrong, len(left)
}

// sender makes and sends packets in batches.
type sender struct {
	*load
	ms []ipv4.Message
	n  int
}

func newSender(l *load) *sender {
	s := &sender{load: l, ms: make([]ipv4.Message, loadBatch)}
	for i := range s.ms {
		s.ms[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 300)}, Addr: l.server}
	}
	return s
}

func (s *sender) packet(client uint32) []byte {
	if s.n == len(s.ms) {
		s.flush()
	}
	b := s.ms[s.n].Buffers[0]
	s.n++
	clear(b)
	copy(b, []byte{1, 1, 6, 1})
	binary.BigEndian.PutUint32(b[4:], client)
	copy(b[24:], s.relay[:])
	b[28] = 2
	binary.BigEndian.PutUint32(b[30:], client)
	copy(b[236:], []byte{99, 130, 83, 99})
	return b
}

// asks is what perfdhcp asks for as well.
var asks = []byte{55, 7, 1, 28, 2, 3, 15, 6, 12}

func (s *sender) discover(client uint32) {
	b := s.packet(client)
	copy(b[240:], append([]byte{53, 1, 1}, append(slices.Clone(asks), 255)...))
}

func (s *sender) request(client uint32, addr, server []byte) {
	b := append(s.packet(client)[:240], 53, 1, 3, 50, 4)
	b = append(append(append(b, addr...), 54, 4), server...)
	_ = append(append(b, asks...), 255) // in place
}

func (s *sender) flush() {
	for at := 0; at < s.n; {
		n, err := s.pc.WriteBatch(s.ms[at:s.n], 0)
		if err != nil {
			n = 1
		}
		at += n
	}
	s.n = 0
}
