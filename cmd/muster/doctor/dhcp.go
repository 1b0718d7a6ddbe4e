package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// checkDHCP looks for another DHCP server on each segment: machines would take the answer of whichever is
// faster.
func checkDHCP(ctx context.Context, e *Env) []Finding {
	if e.Offers == nil {
		return nil
	}
	var own []netip.Addr
	for _, i := range e.Interfaces {
		own = append(own, addresses(i)...)
	}
	results := make([][]Finding, len(e.Interfaces))
	var wg sync.WaitGroup
	for i, name := range e.Interfaces {
		wg.Go(func() { results[i] = e.otherServers(ctx, name, own) }) // ends after listenFor
	}
	wg.Wait()
	return slices.Concat(results...)
}

// listenFor is how long answers are waited for: a server that probes before it offers takes a second or two, dnsmasq 3.
const listenFor = 6 * time.Second

func (e *Env) otherServers(ctx context.Context, iface string, own []netip.Addr) []Finding {
	const check = "dhcp"
	offers, err := e.ask(ctx, iface)
	if err == nil && e.DHCP != DHCPServer && !slices.ContainsFunc(offers, Offer.gives) {
		offers, err = e.ask(ctx, iface) // it may have been busy with probes for others
	}
	if err != nil {
		return []Finding{warn(check, "run it as root, with the interface up", "could not look for other DHCP servers on %s: %v", iface, err)}
	}
	var others []Offer
	for _, o := range offers {
		if !slices.Contains(own, o.Server) && !slices.ContainsFunc(others, func(x Offer) bool { return x.Server == o.Server }) {
			others = append(others, o)
		}
	}
	switch e.DHCP {
	case DHCPProxy:
		return besideProxy(iface, others)
	case DHCPOff:
		return besideNone(iface, others, own)
	}
	var out []Finding
	for _, o := range others {
		what := fmt.Sprintf("another DHCP server on %s: %s offers %s", iface, o.Server, o.Address)
		if !o.gives() {
			what = fmt.Sprintf("a proxyDHCP server on %s: %s tells machines what to boot", iface, o.Server)
		}
		out = append(out, fail(check, "switch it off, or take it off this network, or set dhcpd.mode to proxy: machines take whichever answers first", "%s", what))
	}
	out = append(out, e.heard(iface, others)...)
	if len(out) == 0 {
		out = append(out, ok(check, "no other DHCP server on %s", iface))
	}
	return out
}

// heard tells of the servers that machines chose, but that did not answer.
func (e *Env) heard(iface string, others []Offer) (out []Finding) {
	for _, h := range e.Heard {
		answers := slices.ContainsFunc(others, func(o Offer) bool { return o.Server == h.Server })
		if h.Interface == iface && !answers {
			out = append(out, warn("dhcp", "find out what it is (muster node trace "+h.By+"), and switch it off: machines take whichever answers first",
				"a machine on %s, %s, chose another DHCP server, %s, at %s; it does not answer now", iface, h.By, h.Server, h.At.UTC().Format(time.DateTime)))
		}
	}
	return out
}

// ask looks once.
func (e *Env) ask(ctx context.Context, iface string) ([]Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	return e.Offers(ctx, iface)
}

// gives reports whether it is an address that is offered.
func (o Offer) gives() bool { return o.Address.IsValid() && !o.Address.IsUnspecified() }

// besideProxy looks for the server that gives the addresses, and for those that tell machines what to boot, too.
func besideProxy(iface string, others []Offer) (out []Finding) {
	const check = "dhcp"
	given := false
	for _, o := range others {
		if o.gives() {
			given = true
			out = append(out, ok(check, "the addresses on %s are given by %s, and this server says what to boot (dhcpd.mode: proxy)", iface, o.Server))
		}
		if o.BootFile != "" || !o.gives() {
			out = append(out, warn(check, "let it say nothing about booting: machines do as whichever of both they please",
				"%s on %s tells machines what to boot, too: %q", o.Server, iface, o.BootFile))
		}
	}
	if !given {
		out = append(out, noAddresses(iface, "proxy"))
	}
	return out
}

// besideNone looks for the server that gives the addresses, and whether it sends machines here.
func besideNone(iface string, others []Offer, own []netip.Addr) (out []Finding) {
	const check = "dhcp"
	given, sends := false, false
	for _, o := range others {
		given = given || o.gives()
		if slices.Contains(own, o.NextServer) && o.BootFile != "" {
			sends = true
			out = append(out, ok(check, "dhcpd.mode is off: this server answers no DHCP; on %s, %s sends machines here, for %s", iface, o.Server, o.BootFile))
		}
	}
	switch {
	case !given:
		out = append(out, noAddresses(iface, "off"))
	case !sends:
		out = append(out, warn(check, "set its next-server and boot files (docs/dhcp.md says which), or dhcpd.mode to proxy",
			"dhcpd.mode is off: this server answers no DHCP, and no DHCP server on %s sends machines here", iface))
	}
	return out
}

func noAddresses(iface, mode string) Finding {
	return fail("dhcp", "start the DHCP server of this network, or set dhcpd.mode to server",
		"no DHCP server answers on %s, and this one gives no addresses (dhcpd.mode: %s)", iface, mode)
}
