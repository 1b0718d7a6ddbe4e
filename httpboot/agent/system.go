package agent

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// System is what the agent does to the kernel. Linux is the real one; tests record.
type System interface {
	// Mount is mount(2).
	Mount(source, target, fstype string, flags uintptr, data string) error
	// MountFile mounts the file system that is in a file, read-only, by a loop device that goes with the
	// mount.
	MountFile(file, target, fstype string) error
	// Unmount detaches target (MNT_DETACH); it is no error when nothing is mounted there.
	Unmount(target string) error
	// LoadModule inserts the module in file; one that is there already is no error.
	LoadModule(file string) error
	// Kernel is the running kernel's release.
	Kernel() string
	SetTime(t time.Time) error
	SetHostname(name string) error
	// Reboot restarts the machine; on a real one it does not return.
	Reboot() error
	// As runs fn with a user's rights to files, and gives what fn returns.
	As(uid int, fn func() error) error
	// SwitchRoot makes root the root directory, frees the initramfs and becomes init. On a real machine it
	// returns only an error, and a retry is safe only while nothing was moved (see Linux.SwitchRoot).
	SwitchRoot(root, init string, args []string) error
}

// Network is what the agent does to a NIC, by its name.
type Network interface {
	// Up switches the interface on.
	Up(nic string) error
	// SetAddress makes addr the NIC's only IPv4 address, and gw (unless zero) the default router.
	SetAddress(nic string, addr netip.Prefix, gw netip.Addr) error
	// Probe asks the segment whether somebody has addr (RFC 5227 §2.1.1) and returns who answered; nil
	// when nobody did.
	Probe(ctx context.Context, nic string, addr netip.Addr) (net.HardwareAddr, error)
	// Announce tells the segment that addr is here now (RFC 5227 §2.3).
	Announce(nic string, addr netip.Addr) error
}
