package config

import (
	"fmt"
	"regexp"
)

// labelRE is one label of a host name (RFC 952, RFC 1123 §2.1).
var labelRE = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

// hosts checks those of one subnet, each by itself and against the ones before it.
func (c *check) hosts(key string, s Subnet) {
	for i, h := range s.Hosts {
		at := fmt.Sprintf("%s[%d]", key, i)
		c.hostMAC(at+".mac", h)
		c.hostAddress(at+".address", s, h)
		if h.Hostname != "" && !labelRE.MatchString(h.Hostname) {
			c.fault(at+".hostname", "%q is not a host name (want letters, digits and hyphens, without a domain)", h.Hostname)
		}
		for j, o := range s.Hosts[:i] {
			if o.MAC == h.MAC && !h.MAC.IsZero() {
				c.fault(at+".mac", "%v is that of hosts[%d], %v: a machine has one address in a subnet", h.MAC, j, o.Address)
			}
			if o.Address == h.Address && h.Address.IsValid() {
				c.fault(at+".address", "%v is that of hosts[%d], %v", h.Address, j, o.MAC)
			}
		}
	}
}

func (c *check) hostMAC(key string, h Host) {
	switch {
	case h.MAC.IsZero():
		c.fault(key, "not given: the machine's hardware address, such as 52:54:00:aa:00:01")
	case h.MAC[0]&1 != 0:
		c.fault(key, "%v is a group's address: no machine has it", h.MAC)
	}
}

func (c *check) hostAddress(key string, s Subnet, h Host) {
	switch a := h.Address; {
	case !a.IsValid():
		c.fault(key, "not given: the machine's address, in %v", s.Subnet)
	case !s.Subnet.Contains(a):
		c.fault(key, "%v is not inside of %v", a, s.Subnet)
	case a == s.Subnet.Addr() || a == last(s.Subnet):
		c.fault(key, "%v is not the address of a machine: it is the network's own or its broadcast address", a)
	case a == s.Router:
		c.fault(key, "%v is the router's", a)
	}
}

// hostnames checks that two machines do not have one name. One machine may be in several subnets with its own.
func (c *check) hostnames(list []Subnet) {
	named := map[string]Host{}
	for i, s := range list {
		for j, h := range s.Hosts {
			if h.Hostname == "" {
				continue
			}
			if o, ok := named[h.Hostname]; ok && o.MAC != h.MAC {
				c.fault(fmt.Sprintf("dhcpd.subnets[%d].hosts[%d].hostname", i, j), "%q is the name of %v already", h.Hostname, o.MAC)
			}
			named[h.Hostname] = h
		}
	}
}
