package config

import (
	"cmp"
	"fmt"
	"time"
)

// The modes of DHCPD.
const (
	// ModeServer: this server gives the addresses.
	ModeServer = "server"
	// ModeProxy: another server gives the addresses, and this one tells firmware what to boot (proxyDHCP).
	ModeProxy = "proxy"
	// ModeOff: this server opens no DHCP socket; another one gives the addresses and says what to boot.
	ModeOff = "off"
)

// Addresses reports whether this server gives them.
func (d *DHCPD) Addresses() bool { return d.mode() == ModeServer }

// Why says in a few words why this server has no leases.
func (d *DHCPD) Why() string {
	return "dhcpd.mode is " + d.mode() + ": another DHCP server gives the addresses"
}

func (d *DHCPD) mode() string { return cmp.Or(d.Mode, ModeServer) }

// mode checks it, and what else there is in a configuration that it leaves without a meaning.
func (c *check) mode(d *DHCPD) {
	c.oneOf("dhcpd.mode", d.mode(), ModeServer, ModeProxy, ModeOff)
	if d.Lookout != 0 && d.Lookout < lookoutMin {
		c.fault("dhcpd.lookout", "%v is too often: at least %v, or 0 for never", d.Lookout, time.Duration(lookoutMin))
	}
	if d.mode() == ModeOff && len(d.Subnets6) > 0 {
		c.fault("dhcpd.subnets6", "dhcpd.mode off opens no DHCP socket, and none of DHCPv6: take %s out, or set the mode to %s or %s",
			fmt.Sprint(d.Subnets6[0].Subnet), ModeServer, ModeProxy)
	}
}
