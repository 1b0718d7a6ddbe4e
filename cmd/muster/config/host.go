package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
)

// fallbackDomain is under the top-level domain that is reserved for private use.
const fallbackDomain = "rack.internal"

// router chooses the subnet's default router and says why.
func (h host) router(link netlink.Link, p netip.Prefix, self netip.Addr) (netip.Addr, string) {
	routes, _ := netlink.RouteList(link, netlink.FAMILY_V4)
	for _, r := range routes {
		everywhere := r.Dst == nil || r.Dst.IP.IsUnspecified()
		if gw, ok := netip.AddrFromSlice(r.Gw.To4()); ok && everywhere && p.Contains(gw) {
			return gw, fmt.Sprintf("router %v: this server's default route", gw)
		}
	}
	if strings.TrimSpace(h.read("proc/sys/net/ipv4/ip_forward")) == "1" {
		return self, fmt.Sprintf("router %v: this server, which forwards packets", self)
	}
	return netip.Addr{}, "no router: there is no default route in the subnet and this server does not forward packets"
}

// nameservers are the host's that a node in s can reach, and why.
func (h host) nameservers(s Subnet) ([]netip.Addr, string) {
	var out []netip.Addr
	// Behind systemd-resolved the first file only names a stub on the loopback; the second has the servers.
	for _, file := range []string{"etc/resolv.conf", "run/systemd/resolve/resolv.conf"} {
		for _, f := range h.resolv(file, "nameserver") {
			a, err := netip.ParseAddr(f)
			usable := err == nil && a.Is4() && !a.IsLoopback() && !a.IsUnspecified()
			if usable && (s.Router.IsValid() || s.Subnet.Contains(a)) {
				out = append(out, a)
			}
		}
		if len(out) > 0 {
			return out, fmt.Sprintf("dns %v: from /%s", out, file)
		}
	}
	return nil, "no dns: /etc/resolv.conf names no server that the nodes could reach"
}

// domain is what `hostname -d` prints, found without asking the network.
func (h host) domain() (string, string) {
	name, _ := h.hostname()
	if _, d, ok := strings.Cut(name, "."); ok && domainRE.MatchString(d) {
		return d, "domain " + d + ": this server's"
	}
	for line := range strings.Lines(h.read("etc/hosts")) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		for _, alias := range f[min(1, len(f)):] {
			if d, ok := strings.CutPrefix(alias, name+"."); ok && name != "" && domainRE.MatchString(d) && d != "localdomain" {
				return d, "domain " + d + ": from /etc/hosts"
			}
		}
	}
	for _, key := range []string{"domain", "search"} {
		for _, d := range h.resolv("etc/resolv.conf", key) {
			if domainRE.MatchString(d) {
				return d, "domain " + d + ": from /etc/resolv.conf"
			}
		}
	}
	return fallbackDomain, "domain " + fallbackDomain + ": this server has none"
}

// resolv gives the values of a keyword of a resolv.conf.
func (h host) resolv(file, key string) []string {
	var out []string
	for line := range strings.Lines(h.read(file)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			out = append(out, f[1:]...)
		}
	}
	return out
}

// read gives a file's text; "" where there is none: nothing here is needed.
func (h host) read(name string) string {
	b, err := fs.ReadFile(h.fs, name)
	if err != nil {
		return ""
	}
	return string(b)
}
