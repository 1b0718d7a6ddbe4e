package power

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"

	"muster/roles"
)

// wolRepeat is how often a magic packet is sent: nothing acknowledges it, and switches drop packets for a
// port that is just coming up.
const wolRepeat = 3

// WOL is the Wake-on-LAN driver: On sends magic packets. It can neither cut the power nor tell whether a machine
// is on; Off and Status say so.
//
// A target is the machine's MAC, or MAC@address[:port] for a machine in another subnet, whose broadcast
// address, or a host there that passes the packet on, is then used instead of Broadcast. The port is 9 unless
// said otherwise.
type WOL struct {
	// Broadcast are the addresses that packets are sent to, normally the broadcast address of every subnet
	// that is served, port 9. Empty means 255.255.255.255:9, which leaves by one interface only: that
	// of the default route.
	Broadcast []netip.AddrPort
}

var _ roles.Driver = (*WOL)(nil)

// wolPort is "discard", where nobody listens; network cards look at the frame, not at the port.
const wolPort = 9

// On implements roles.Driver. It succeeds when the packets were sent by at least one way; whether the machine wakes
// is seen only when it boots.
func (w *WOL) On(ctx context.Context, target string) error {
	mac, to, err := w.parse(target)
	if err != nil {
		return err
	}
	packet := magic(mac)
	var errs []error
	for _, a := range to {
		if err := send(ctx, a, packet); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(to) {
		return fmt.Errorf("power: wol: %w", errors.Join(errs...))
	}
	return nil
}

// Off implements roles.Driver. The error wraps fs.ErrInvalid.
func (w *WOL) Off(context.Context, string) error {
	return fmt.Errorf("power: wol: Wake-on-LAN cannot switch a machine off: shut it down by hand, or give the node another power driver: %w", fs.ErrInvalid)
}

// Status implements roles.Driver. The error wraps fs.ErrInvalid.
func (w *WOL) Status(context.Context, string) (bool, error) {
	return false, fmt.Errorf("power: wol: Wake-on-LAN cannot tell whether a machine is on: %w", fs.ErrInvalid)
}

// parse reads a target. The error wraps fs.ErrInvalid.
func (w *WOL) parse(target string) (roles.MAC, []netip.AddrPort, error) {
	text, at, hasAddr := strings.Cut(target, "@")
	mac, err := roles.ParseMAC(text)
	if err != nil {
		return mac, nil, fmt.Errorf("power: wol: target %w: %w", err, fs.ErrInvalid)
	}
	if hasAddr {
		to, err := netip.ParseAddrPort(at)
		if err != nil {
			a, aerr := netip.ParseAddr(at)
			if aerr != nil {
				return mac, nil, fmt.Errorf("power: wol: target %q: %w: %w", target, err, fs.ErrInvalid)
			}
			to = netip.AddrPortFrom(a, wolPort)
		}
		return mac, []netip.AddrPort{to}, nil
	}
	if len(w.Broadcast) == 0 {
		return mac, []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), wolPort)}, nil
	}
	return mac, w.Broadcast, nil
}

// magic is six bytes of ones and the MAC sixteen times.
func magic(mac roles.MAC) []byte {
	p := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for range 16 {
		p = append(p, mac[:]...)
	}
	return p
}

// send sends a packet a few times. The net package allows broadcasts on every socket.
func send(ctx context.Context, to netip.AddrPort, packet []byte) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range wolRepeat {
		// Only the first one tells: a host that answers with an ICMP error has had the packet.
		if _, err := conn.Write(packet); err != nil && i == 0 {
			return err
		}
	}
	return nil
}
