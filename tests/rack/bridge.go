package rack

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// links calls f with a netlink handle of the rack's network.
func (r *Rack) links(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(r.holder.net.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("rack: netlink: %w", err)
	}
	defer h.Close()
	return f(h)
}

// makeBridge makes the rack's switch, with the server's address on it.
func (r *Rack) makeBridge() error {
	return r.links(func(h *netlink.Handle) error {
		if lo, err := h.LinkByName("lo"); err == nil {
			err = h.LinkSetUp(lo)
			if err != nil {
				return fmt.Errorf("rack: set lo up: %w", err)
			}
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = BridgeName
		// Without snooping the bridge floods multicast at once: no IGMP querier is there.
		snooping := false
		br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("rack: make bridge %s: %w", BridgeName, err)
		}
		ip := net.IPNet{IP: r.server.Addr().AsSlice(), Mask: net.CIDRMask(r.server.Bits(), 32)}
		if err := h.AddrAdd(br, &netlink.Addr{IPNet: &ip}); err != nil {
			return fmt.Errorf("rack: give %s to %s: %w", r.server, BridgeName, err)
		}
		if err := h.LinkSetUp(br); err != nil {
			return fmt.Errorf("rack: set %s up: %w", BridgeName, err)
		}
		return nil
	})
}

// openTap makes a tap interface, a port of the bridge. It disappears when the last file of it is closed.
func (r *Rack) openTap(name string) (tap *os.File, err error) {
	err = r.Inside(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("rack: open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("rack: make tap %q: %w", name, err)
		}
		// Only now: the runtime's poller cannot wait for a file without an interface.
		tap = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err == nil {
		err = r.plug(name)
	}
	if err != nil && tap != nil {
		tap.Close()
		tap = nil
	}
	return tap, err
}

// plug makes an interface a port of the bridge.
func (r *Rack) plug(name string) error {
	return r.links(func(h *netlink.Handle) error {
		br, err := h.LinkByName(BridgeName)
		if err != nil {
			return fmt.Errorf("rack: %s: %w", BridgeName, err)
		}
		tap, err := h.LinkByName(name)
		if err == nil {
			err = h.LinkSetMaster(tap, br)
		}
		if err == nil {
			err = h.LinkSetUp(tap)
		}
		if err != nil {
			return fmt.Errorf("rack: plug %s into %s: %w", name, BridgeName, err)
		}
		return nil
	})
}
