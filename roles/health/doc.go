// Package health checks whether a node does its work: HTTP (RFC 9110), TCP, NTP (RFC 5905),
// SMTP (RFC 5321), IMAP (RFC 9051) and DNS (RFC 1035).
//
// A check speaks to the node's address as a client would, and its error is a sentence for the technician who
// reads it in the boot's timeline: what was asked, what came back, and where to look. It deliberately keeps
// no state: how often to check, and how many failures in a row count, is package roles' business.
package health
