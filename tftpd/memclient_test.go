package tftpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memClient speaks TFTP packet by packet on a memNet.
type memClient struct {
	t    *testing.T
	net  *memNet
	addr netip.AddrPort
	in   chan memReply
	gone atomic.Bool
	// flow is where the last packet came from.
	flow *memFlow
}

type memReply struct {
	p    []byte
	from *memFlow
}

// inMemory runs a server on a network in memory, inside a bubble, for as long as fn takes.
func inMemory(t *testing.T, srv *Server, fn func(t *testing.T, n *memNet, ended ends)) {
	synctest.Test(t, func(t *testing.T) {
		n, e := newMemNet(), make(ends, queue)
		srv.Observe = func(tr Transfer) { e <- tr }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, n) }()
		fn(t, n, e)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if n.flows != 0 {
			t.Errorf("%d flows are left open", n.flows)
		}
	})
}

// client adds a client with this port.
func (n *memNet) client(t *testing.T, port uint16) *memClient { return n.clientAt(t, 0, port) }

// clientAt adds a client with this address and port.
func (n *memNet) clientAt(t *testing.T, host byte, port uint16) *memClient {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &memClient{t: t, net: n, in: make(chan memReply, queue),
		addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, host, 100}), port)}
	n.clients[c.addr] = c
	return c
}

// raw sends a packet to the well-known port.
func (c *memClient) raw(p []byte) {
	c.net.carry(p, func(p []byte) {
		select {
		case c.net.requests <- memRequest{p, c.addr}:
		default:
		}
	})
}

// encode is a request as it is on the wire.
func (r request) encode() []byte {
	p := binary.BigEndian.AppendUint16(nil, r.op)
	p = append(append(p, r.file...), 0)
	p = append(append(p, r.mode...), 0)
	return appendStrings(p, r.options)
}

// read asks for a file; options are pairs of name and value.
func (c *memClient) read(file string, options ...string) {
	r := request{op: opRRQ, file: file, mode: "octet"}
	for i := 0; i < len(options); i += 2 {
		r.options = append(r.options, option{options[i], options[i+1]})
	}
	c.raw(r.encode())
}

// send sends a packet of the transfer.
func (c *memClient) send(p []byte) { c.net.carry(p, c.flow.receive) }

// ack acknowledges a block.
func (c *memClient) ack(block int) {
	c.send(binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(block)))
}

// next waits for a packet and describes it: "DATA 1 512", "ERROR 1 file not found", "OACK blksize=8".
func (c *memClient) next() string {
	c.t.Helper()
	select {
	case r := <-c.in:
		c.flow = r.from
		return describe(r.p)
	case <-time.After(time.Hour):
		c.t.Fatal("nothing came for an hour")
		return ""
	}
}

// describe is a packet in words.
func describe(p []byte) string {
	if len(p) < 2 {
		return fmt.Sprintf("% x", p)
	}
	switch op := binary.BigEndian.Uint16(p); op {
	case opData:
		return fmt.Sprintf("DATA %d %d", binary.BigEndian.Uint16(p[2:]), len(p)-4)
	case opError:
		return fmt.Sprintf("ERROR %d %s", binary.BigEndian.Uint16(p[2:]), bytes.TrimRight(p[4:], "\x00"))
	case opOAck:
		var words []string
		for _, o := range parseOptions(p[2:]) {
			words = append(words, o.name+"="+o.value)
		}
		return strings.TrimSpace("OACK " + strings.Join(words, " "))
	default:
		return fmt.Sprintf("opcode %d", op)
	}
}

// want checks the packets that come next.
func (c *memClient) want(packets ...string) {
	c.t.Helper()
	for _, w := range packets {
		if got := c.next(); got != w {
			c.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// wantData checks for blocks from first to last, each of size bytes.
func (c *memClient) wantData(first, last, size int) {
	c.t.Helper()
	for b := first; b <= last; b++ {
		c.want(fmt.Sprintf("DATA %d %d", b&0xffff, size))
	}
}

// silent checks that nothing comes while everyone waits; time does not go on.
func (c *memClient) silent() {
	c.t.Helper()
	if r, ok := c.pending(); ok {
		c.t.Fatalf("got %q, want silence", describe(r.p))
	}
}

// pending takes a packet, if there is one once everyone waits.
func (c *memClient) pending() (memReply, bool) {
	synctest.Wait()
	select {
	case r := <-c.in:
		return r, true
	default:
		return memReply{}, false
	}
}

// fetch is a client as it should be (RFC 1350, RFC 7440): it gets the whole file, or says why not. Its
// timer is twice the server's first one; it repeats its request, too.
func (c *memClient) fetch(file string, window int, options ...string) ([]byte, error) {
	var got bytes.Buffer
	blksize, have, inWindow, told := defaultBlksize, 0, 0, false
	started := false
	ask := func() { c.read(file, options...) }
	ask()
	for silence := 0; silence < 20; {
		var r memReply
		select {
		case r = <-c.in:
		case <-time.After(2 * time.Second):
			if silence++; started {
				c.ack(have)
			} else {
				ask()
			}
			inWindow = 0
			continue
		}
		if c.flow != nil && c.flow != r.from {
			continue // another transfer of this client: not ours
		}
		c.flow = r.from
		switch binary.BigEndian.Uint16(r.p) {
		case opError:
			return got.Bytes(), fmt.Errorf("%s", describe(r.p))
		case opOAck:
			if v, ok := find(parseOptions(r.p[2:]), "blksize"); ok {
				fmt.Sscan(v, &blksize)
			}
			started = true
			if have == 0 {
				c.ack(0)
			}
		case opData:
			started, silence = true, 0
			if binary.BigEndian.Uint16(r.p[2:]) != uint16(have+1) {
				if !told { // once for a gap
					c.ack(have)
				}
				inWindow, told = 0, window > 1
				continue
			}
			got.Write(r.p[4:])
			have, inWindow, told = have+1, inWindow+1, false
			last := len(r.p)-4 < blksize
			if last || inWindow >= window {
				c.ack(have)
				inWindow = 0
			}
			if last {
				return got.Bytes(), nil
			}
		}
	}
	return got.Bytes(), fmt.Errorf("the server does not answer")
}
