package tftpd

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// memNet is a packet network in memory: a Conn for the server, and any number of clients. Inside a
// synctest bubble its delays, and the server's timers, take no time.
type memNet struct {
	requests chan memRequest
	closed   chan struct{}
	once     sync.Once
	// travel says when a packet arrives, as many times as it does; none means that it is lost. Nil
	// means once and at once. It is called by one goroutine at a time.
	travel func(p []byte) []time.Duration
	mu     sync.Mutex // guards travel's state, clients and flows
	// clients by address; flows counts those that are open.
	clients map[netip.AddrPort]*memClient
	flows   int
	payload int
}

type memRequest struct {
	p    []byte
	from netip.AddrPort
}

// queue is the length of every queue of the network; what does not fit is lost.
const queue = 4096

var memServer = netip.MustParseAddr("10.77.0.1")

func newMemNet() *memNet {
	return &memNet{
		requests: make(chan memRequest, queue),
		closed:   make(chan struct{}),
		clients:  map[netip.AddrPort]*memClient{},
	}
}

// carry takes a copy of p to deliver, as travel has it.
func (n *memNet) carry(p []byte, deliver func([]byte)) {
	p = append([]byte(nil), p...)
	n.mu.Lock()
	arrivals := []time.Duration{0}
	if n.travel != nil {
		arrivals = n.travel(p)
	}
	n.mu.Unlock()
	for _, d := range arrivals {
		if d == 0 {
			deliver(p)
		} else {
			time.AfterFunc(d, func() { deliver(p) })
		}
	}
}

func (n *memNet) ReadRequest(p []byte) (int, Peer, error) {
	select {
	case r := <-n.requests:
		return copy(p, r.p), Peer{Remote: r.from, Local: memServer}, nil
	case <-n.closed:
		return 0, Peer{}, net.ErrClosed
	}
}

func (n *memNet) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *memNet) Open(peer Peer) (Flow, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flows++
	return &memFlow{net: n, client: n.clients[peer.Remote], in: make(chan []byte, queue), closed: make(chan struct{})}, nil
}

func (n *memNet) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flows
}

// memFlow is a transfer's socket.
type memFlow struct {
	net    *memNet
	client *memClient
	in     chan []byte
	closed chan struct{}
}

func (f *memFlow) Run(ctx context.Context, e Exchange) error { return pump(ctx, e, f.in) }

func (f *memFlow) Send(packets []Datagram) error {
	if f.client.gone.Load() {
		return ErrGone
	}
	for _, d := range packets {
		p := append(append([]byte(nil), d[0]...), d[1]...)
		f.net.carry(p, func(p []byte) {
			select {
			case f.client.in <- memReply{p, f}:
			default:
			}
		})
	}
	return nil
}

// receive is called at the client's end.
func (f *memFlow) receive(p []byte) {
	select {
	case <-f.closed:
	case f.in <- p:
	default:
	}
}

func (f *memFlow) MaxPayload() int { return f.net.payload }

func (f *memFlow) Close() error {
	close(f.closed)
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	f.net.flows--
	return nil
}
