//go:build linux

package main

import (
	"errors"
	"net"
	"time"

	"github.com/vishvananda/netlink"
)

// network gives the address to the first Ethernet interface and waits until it has carrier.
func network(address string) error {
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for ; time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Flags&net.FlagLoopback != 0 {
				if err := netlink.LinkSetUp(l); err != nil {
					return err
				}
				continue
			}
			if len(l.Attrs().HardwareAddr) != 6 {
				continue
			}
			if err := netlink.LinkSetUp(l); err != nil {
				return err
			}
			return netlink.AddrReplace(l, addr)
		}
	}
	return errors.New("no Ethernet interface came up")
}
