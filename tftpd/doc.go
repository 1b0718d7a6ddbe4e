// Package tftpd is a read-only TFTP server over an fs.FS, made for firmware: many machines at once, each
// fetching a boot program of some hundred kilobytes, and now and then a kernel of many megabytes.
//
// It implements RFC 1350 (TFTP), RFC 2347 (options), RFC 2348 (blksize), RFC 2349 (tsize, timeout),
// RFC 7440 (windowsize), and what RFC 1123 §4.2.3 asks of a server: no sorcerer's apprentice, requests
// to a broadcast address ignored, adaptive timeout. There is one sender; lock-step is its window of 1.
// Block numbers of files beyond 65,535 blocks go on at 0. Modes are octet and netascii.
//
// It answers from the address that was asked, so that machines with several addresses, and floating
// ones, work.
//
// It deliberately does not: write (RFC 1350 WRQ is refused), multicast (RFC 2090), serve mode "mail",
// look names up, or know what a machine is. It imports nothing of Muster's: who may see which file is
// decided by the fs.FS that it is given.
package tftpd
