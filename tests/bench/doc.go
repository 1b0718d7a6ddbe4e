// Package bench compares whole boots: Muster's with those of a stack that people build by hand on Debian
// (dnsmasq, an HTTP server, initramfs-tools with boot=nfs, nfs-ganesha), on the same virtual machine, in
// turn, in one run.
//
// And DHCP alone, under load, with Kea and dnsmasq beside Muster; and TFTP alone, with tftpd-hpa, atftpd and dnsmasq.
//
// It holds only benchmarks, which make bench-boot, make bench-dhcp and make bench-tftp run, and one test that needs the same load:
// no lease is lost when the server is killed. No test depends on what is measured.
package bench
