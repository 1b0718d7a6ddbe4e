// Package rack is a virtual rack: QEMU machines on a bridge in a network namespace, switched on and off like
// real ones and booting from nothing but their own firmware (SeaBIOS with the iPXE ROM, OVMF with its own PXE
// stack, OVMF HTTP boot). They are diskless unless they are given data disks, and can be made to fail: power cuts,
// dead boards, lost frames, dead switch ports, power switches that don't answer. The end-to-end tests, make demo
// and muster lab run on it.
//
// Whatever belongs to a rack runs inside a network and a mount namespace of its own, with a private /run and
// /var/lib/nfs, so that several racks on one machine (each with its DHCP, TFTP and NFS server on the usual
// ports) do not disturb each other or the host. The namespaces have no name: a holder process keeps them
// alive. It reads a pipe from the process that made the rack; when that process ends, in whichever way, the
// holder kills everything that still runs in the namespace and removes the rack's files.
//
// The package needs root, Linux and the Debian packages that make setup installs. It deliberately does not
// start Muster itself (the caller does, with Rack.Command), and connects the rack to no other network.
package rack
