// Package httpboot is the boot server's HTTP half: the iPXE script of each machine, kernel and initrd with
// the kernel's sendfile, network boot programs for firmware that speaks HTTP, and the endpoints of the
// node's agent (package httpboot/agent).
//
// HTTP is RFC 9110 and 9112 (HTTP/1.0 without Host too: old firmware), with byte ranges and entity tags;
// UEFI's client is UEFI 2.10 §24.7. The package decides nothing: which image a machine boots and whether it
// waits is said by the Director, a consumer-declared interface.
//
// It deliberately has no middleware around boot files, since a wrapped ResponseWriter costs sendfile; it
// does not answer an overload with 503, which firmware does not understand, but with a script that waits;
// it lists no directories; and what machines boot goes without TLS, which firmware cannot do: only secrets and
// the orders of running nodes have a port with TLS 1.3, and no machine is asked for a certificate.
package httpboot
