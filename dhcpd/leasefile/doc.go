// Package leasefile reads the lease files of other DHCP servers, so that people can move, and reads and writes
// Muster's own exports.
//
//   - ISC dhcpd's dhcpd.leases (dhcpd.leases(5)) and dnsmasq's dnsmasq.leases
//   - Kea's memfile, kea-leases4.csv
//   - Muster's CSV and JSON, which hold all that a lease has
//
// A line that is broken is a Fault with its number and costs nothing but itself. The package deliberately decides
// nothing: which leases fit a rack is up to whoever imports them. DHCPv6 leases are counted, not read.
package leasefile
