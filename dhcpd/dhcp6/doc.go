// Package dhcp6 is a DHCPv6 server for networks that machines boot from.
//
// It speaks RFC 8415 for addresses (Solicit, Request, Renew, Rebind, Confirm, Release, Decline,
// Information-request, Rapid Commit, relays within relays), and tells PXE, UEFI HTTP and iPXE clients what to load
// (RFC 5970). It is authoritative for its subnets.
//
// One machine has one address: ROM, boot loader and operating system send different DUIDs and IAIDs, and so leases
// are keyed by MAC wherever one can be told: from the address of the link (EUI-64 in the link-local source, RFC 4291
// appendix A, or what the relay saw, RFC 6939) or from the DUID (RFC 8415 §11.2, §11.4). See identify. Addresses
// are not searched for but computed from the key, so that a prefix of 2^64 costs no more than a small one, and a
// machine gets its own again even when its lease was forgotten.
//
// Packets are read in batches; the leases of a batch are durable, by one commit, before the first Reply that
// depends on them is sent. A packet gets one reply at most, which fits into the smallest MTU of IPv6.
//
// The package knows no policy: which machines are known and what they boot is asked of a Policy. How many unknown
// ones may have leases is bounded, and how fast they come.
//
// It deliberately does not do prefix delegation and temporary addresses (IA_PD and IA_TA get a status), Reconfigure,
// authentication, dynamic DNS, leasequery or failover; it sends no Server Unicast option, and answers unicast with
// the status UseMulticast. Router advertisements, without which no host asks, are package radv's. It runs on Linux.
package dhcp6
