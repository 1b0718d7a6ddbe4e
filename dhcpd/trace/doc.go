// Package trace shows people the DHCP packets of a machine, as they come and go: in words (RFC 2132, RFC 4578) and as
// a pcap file that Wireshark and tcpdump open.
//
// A Hub stands behind a Server's Tap. While nobody watches it costs a look at a counter; nobody who watches can hold
// the server up. It deliberately keeps nothing of the past, and sees DHCP alone: what a machine says by TFTP and HTTP
// is in the timeline of its boot.
package trace
