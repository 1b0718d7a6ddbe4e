package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"muster/roles"
)

// TracePacket is a DHCP packet of a machine.
type TracePacket struct {
	Time      time.Time `json:"time"`
	Interface string    `json:"interface,omitempty"`
	MAC       roles.MAC `json:"mac,omitzero"`
	// In tells what came from the machine from what goes to it.
	In   bool           `json:"in"`
	From netip.AddrPort `json:"from,omitzero"`
	To   netip.AddrPort `json:"to,omitzero"`
	// Data is the DHCP message.
	Data []byte `json:"data,omitempty"`
	// Drop is why it got no answer; "" for all others.
	Drop string `json:"drop,omitempty"`
	// Summary is the packet in a line.
	Summary string `json:"summary,omitempty"`
	// Lost is how many packets were lost before this one, because the reader is slow. Without Data that is all.
	Lost uint64 `json:"lost,omitempty"`
}

// Watch gives one packet after the other, until it is closed.
type Watch interface {
	// Next waits for a packet. It fails only when ctx ends.
	Next(ctx context.Context) (TracePacket, error)
	Close()
}

// tracePackets streams the packets of a node (?node=, repeated), seen before or not, or of all machines (?all=1).
func (s *Server) tracePackets(w http.ResponseWriter, r *http.Request) error {
	macs, err := s.traced(r.URL.Query())
	if err != nil {
		return err
	}
	if s.Trace == nil {
		return fmt.Errorf("this server has no packets to show: %w", fs.ErrNotExist)
	}
	watch, err := s.Trace(macs)
	if err != nil {
		return err
	}
	defer watch.Close()
	out := newStream(w)
	// The first empty line sends the header: the client knows that it is watching.
	for err = out.line(nil); err == nil; {
		ctx, cancel := context.WithTimeout(r.Context(), heartbeat)
		p, failed := watch.Next(ctx)
		cancel()
		switch {
		case r.Context().Err() != nil:
			return nil
		case failed != nil:
			err = out.line(nil)
		default:
			err = out.line(p)
		}
	}
	return nil // the client is gone
}

// traced gives the MACs that a query names; none means all.
func (s *Server) traced(q url.Values) (macs []roles.MAC, err error) {
	all, err := flag(q, "all")
	if err != nil {
		return nil, err
	}
	if all == (len(q["node"]) > 0) {
		return nil, fmt.Errorf("want node= or all=1, and not both: %w", fs.ErrInvalid)
	}
	for _, key := range q["node"] {
		mac, err := roles.ParseMAC(key)
		if err != nil {
			n, err := s.Rack.Node(key)
			if err != nil {
				return nil, err
			}
			mac = n.MAC
		}
		macs = append(macs, mac)
	}
	return macs, nil
}

// Trace calls fn with every DHCP packet of nodes, seen before or not, or of all machines where there are none, until fn
// fails, ctx ends or the server is gone (ErrUnreachable). ready is called when the server watches; nil is nobody.
func (c *Client) Trace(ctx context.Context, nodes []string, ready func(), fn func(TracePacket) error) error {
	q := url.Values{"node": nodes}
	if len(nodes) == 0 {
		q.Set("all", "1")
	}
	resp, err := c.send(ctx, http.MethodGet, "/v1/trace", q, nil)
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	err = lines(ctx, resp, fn)
	if err == nil || errors.Is(err, syscall.ECONNRESET) {
		return &unreachable{"the server on " + c.where + " went away"}
	}
	return err
}
