// Package agent is the node's half of a boot, from the kernel's start to the image's own init: it loads
// modules, brings up the network with what the server decided, says hello, gets its boot spec, claims its
// secrets, mounts, and hands over. A root in RAM is a squashfs that it verifies, while it streams, against a
// signed list of sums. In the running system a copy of it (Node) keeps the node's files up to date, and restarts
// the machine in good order when it is told to; a storage machine speaks by a Caller and gets images by a Fetcher (see
// package pair). The package also holds the wire types that it and the boot server
// exchange (JSON over HTTP).
//
// It speaks NFS version 3 (RFC 1813) through the kernel's client, rtnetlink (RFC 3549), and ARP (RFC 826)
// with RFC 5227's probe before it takes an address. Secrets come over TLS 1.3 (RFC 8446) from the holder of one
// key, named on the kernel command line, and stay in RAM; seals are signed with Ed25519 (RFC 8032). Every wait
// backs off and says on the console what it waits for; every step and every error is reported to the server;
// whatever can be tried again is tried for ever, and a restart always says why.
//
// It is linked into muster-init, which stays small: no database, no DHCP server, nothing of roles. It
// deliberately speaks no DHCP, since firmware and iPXE have been given the address already; it does not
// touch disks; and it never says of itself that a node works: that is asked from outside.
package agent
