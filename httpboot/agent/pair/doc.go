// Package pair is the node's half of a storage pair: it runs on the two machines that replicate a disk with DRBD
// under Pacemaker.
//
// It decides nothing that Pacemaker decides. It finds and prepares the disk, starts the cluster when the boot
// server says that it may, keeps what the active half exports as the server wants it, and is the three programs
// that Pacemaker and DRBD call: the resource agent (OCF Resource Agent API 1.1), the fence agent and the fence-peer
// handler. NFS is the kernel's, versions 4.1 (RFC 8881) and 4.2 (RFC 7862); the floating address is announced by ARP
// (RFC 5227).
//
// A disk is never guessed, and nothing that carries anything is written to without an operator's word. Only the boot
// server's latest orders are followed; while it is away everything stays as it is, and Pacemaker goes on without it.
//
// It deliberately checks no file system at a takeover (the journal is replayed), reads no disk that DRBD has, and
// starts no program to see whether it serves: a failover is counted in seconds.
package pair
