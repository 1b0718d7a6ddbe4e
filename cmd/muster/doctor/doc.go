// Package doctor examines a live set-up as a technician would: it does what a machine does, and says what to
// do where that fails. Is there another DHCP server on the segment (RFC 2131)? Does every boot program come
// by TFTP (RFC 1350), the script and the kernels by HTTP? Can the exports be mounted (RFC 1813, appendix I)?
// Are the files, the disk and the clock as they should be?
//
// It asks from this host, over the addresses that machines use. It deliberately changes nothing, and it
// cannot see what only lies between this host and a machine: a switch that drops, a firewall for others.
//
// An export is tried with the MOUNT call of version 3 and a look at what it gave out, not by mounting it:
// that works without root and without an NFS client in the kernel, and a dead server cannot hang it.
package doctor
