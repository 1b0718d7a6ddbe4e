// Package radv answers the IPv6 router solicitations of machines that boot over IPv4, so that they do not wait
// for a router that is not there.
//
// iPXE configures IPv4 and IPv6 at the same time and goes on when both are done. On a network without an IPv6
// router it repeats its solicitation for 16 s (measured, Debian's iPXE 1.0.0+git-20190125; more where timers
// run slowly) before it uses the address that DHCP gave it long ago. Any valid router advertisement ends that,
// also one that offers nothing.
//
// That is what this package sends (RFC 4861 §4.2, §6.2): router lifetime 0, "I am no default router", no
// prefix, no flags, and every other field zero, "unspecified". A host takes no address, route, hop limit or
// name server from it. A router lifetime of 0 removes its sender from a host's list of default routers and
// nobody else (§6.3.4), so that real routers on the link go on to serve. If this machine is itself an IPv6
// router on an interface, the package is silent there: the router's own advertisements come from the same
// address, and would be taken back.
//
// Where machines boot over IPv6 and no router tells them to ask DHCPv6, it does (Link.Managed): iPXE asks only if a
// router advertisement says so. It is still no router's: it says that DHCPv6 has addresses, and which prefixes are on
// the link. There, who asks without an address is answered together with all nodes.
//
// It deliberately is no router: it never advertises unsolicited, and but for managed links only to the one machine
// that asked and that Server.Answer knows. It does no DHCPv6 itself. It runs on Linux only.
package radv
