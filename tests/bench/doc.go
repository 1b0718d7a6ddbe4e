// Package bench compares whole boots: Muster's with those of a stack that people build by hand on Debian
// (dnsmasq, an HTTP server, initramfs-tools with boot=nfs, nfs-ganesha), on the same virtual machine, in
// turn, in one run.
//
// It holds only benchmarks: make bench-boot runs them, and no test depends on what they measure.
package bench
