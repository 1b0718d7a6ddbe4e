// Package agent is the node's half of a boot, from the kernel's start to the image's own init: it loads
// modules, brings up the network with what the server decided, says hello, gets its boot spec, mounts,
// and hands over. It also holds the wire types that it and the boot server exchange (JSON over HTTP).
//
// It speaks NFS version 3 (RFC 1813) through the kernel's client, rtnetlink (RFC 3549), and ARP (RFC 826)
// with RFC 5227's probe before it takes an address. Every wait backs off and says on the console what it
// waits for; every step and every error is reported to the server; whatever can be tried again is tried for
// ever, and a restart always says why.
//
// It is linked into muster-init, which stays small: no database, no DHCP server, nothing of roles. It
// deliberately speaks no DHCP, since firmware and iPXE have been given the address already; it does not
// touch disks; and it runs no longer than the hand-over: whether a node works is asked from outside.
package agent
