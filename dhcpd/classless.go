package dhcpd

import (
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Route is a network that machines reach by another way than the default router (RFC 3442).
type Route struct {
	// To is the network: 10.90.0.0/16.
	To netip.Prefix
	// Via is the router, in the machines' subnet; 0.0.0.0 means that To is on the link.
	Via netip.Addr
}

// optionMSRoutes is what Windows before Vista calls its copy of option 121.
const optionMSRoutes = dhcpv4.GenericOptionCode(249)

// check says what is wrong with r in n; empty if nothing is.
func (r Route) check(n *Subnet) string {
	switch {
	case !r.To.Addr().Is4() || r.To != r.To.Masked():
		return fmt.Sprintf("route to %s: want an IPv4 network, like 10.90.0.0/16", r.To)
	case r.To.Bits() == 0 && n.Router.IsValid():
		return "route to 0.0.0.0/0: that is what the router is for"
	case !r.Via.Is4() || !r.Via.IsUnspecified() && !n.usable(r.Via) && r.Via != n.Router:
		return fmt.Sprintf("route to %s via %s, which is no machine of the subnet", r.To, r.Via)
	}
	return ""
}

// classless reports whether w tells of the routes in option 121. Only who names the option gets it, because option 3 is
// left out then, which such a client has to ignore (RFC 3442, "Server Administrator Responsibilities").
func (w *writer) classless() bool {
	code := dhcpv4.OptionClasslessStaticRoute.Code()
	return w.kind != bootReply && len(w.subnet.Routes) > 0 && w.req.asked.has(code) && !w.without.has(code)
}

// router tells the default router to who is not told of it among the routes.
func (w *writer) router() {
	if w.subnet.Router.IsValid() && !w.classless() && w.req.wants(dhcpv4.OptionRouter) {
		router := w.subnet.Router.As4()
		w.put(dhcpv4.OptionRouter, router[:]...)
	}
}

// routes tells all ways out of the subnet.
func (w *writer) routes(code dhcpv4.OptionCode) {
	var room [256]byte
	w.put(code, w.subnet.classless(room[:0])...)
}

// oldRoutes is routes for Windows that knows no option 121.
func (w *writer) oldRoutes() {
	if len(w.subnet.Routes) > 0 && w.req.asked.has(optionMSRoutes.Code()) && !w.classless() {
		w.routes(optionMSRoutes)
	}
}

// classless appends the routes of n as RFC 3442 has them: the network's length, as many of its bytes as are not zero by
// that, and the router.
func (n *Subnet) classless(b []byte) []byte {
	for _, r := range n.Routes {
		b = r.encode(b)
	}
	if n.Router.IsValid() {
		b = Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), n.Router}.encode(b)
	}
	return b
}

func (r Route) encode(b []byte) []byte {
	to, via := r.To.Addr().As4(), r.Via.As4()
	b = append(append(b, byte(r.To.Bits())), to[:(r.To.Bits()+7)/8]...)
	return append(b, via[:]...)
}
