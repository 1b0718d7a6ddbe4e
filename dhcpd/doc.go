// Package dhcpd is a DHCPv4 server for networks that machines boot from.
//
// It speaks RFC 2131 and 2132 in full (discover, select, init-reboot, renew, rebind, release, decline, inform,
// relays), echoes relay agent information (RFC 3046) and client identifiers (RFC 6842), and tells PXE, UEFI
// HTTP and iPXE clients what to load (RFC 4578, PXE 2.1), also on the boot server's port 4011. It is authoritative for
// its subnets; or, as Server.Proxy, it gives no address and only tells them what to load, beside a DHCP server that
// somebody else runs.
//
// Packets are read in batches. Each batch is decided in one pass, its leases are committed durably at once,
// and only then are the ACKs sent: under load the batch grows and shares the cost of the fsync. An offer stays
// in memory; only an ACK writes.
//
// A packet is read in place and a reply is written straight into a buffer that is used again: an exchange makes next
// to no garbage. Options in the file and sname fields (option 52) and in pieces (RFC 3396) are read and, where an answer
// does not fit otherwise, written. No answer is larger than the machine takes (option 57).
//
// Where the operator wants it, machines get classless static routes (RFC 3442), an address in two packets (RFC 4039) or
// by BOOTP (RFC 951, 1534), and relays name the link (RFC 3527) and stand for the server (RFC 5107).
//
// With Probe it looks by ARP (RFC 5227) for machines that use its addresses; a Lookout finds other servers on the segment.
//
// Machines that nobody knows are limited by Newcomers, so that made-up MACs cost the known ones nothing.
//
// The package knows no policy: which machine gets which address, name or boot file is asked of a Policy. It
// deliberately does not do DHCPv6, dynamic DNS, failover between servers, hardware other than Ethernet, or the relay's
// flags (RFC 5010): whether a packet was broadcast makes no difference here. Leases are keyed by MAC and never by client
// identifier (against RFC 2131 §4.2), so that ROM, boot loader and operating system of one machine share one address.
//
// It runs on Linux only: it needs SO_BINDTODEVICE, recvmmsg and packet sockets.
package dhcpd
