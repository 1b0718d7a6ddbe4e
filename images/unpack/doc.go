// Package unpack applies tar streams to a directory as root: the layers of container images (OCI image
// specification, layer.md: whiteouts and opaque directories), and plain archives of a root file system
// (POSIX.1-2001 pax, ustar, GNU). Modes with setuid, numeric owners, times, links, devices, FIFOs, sparse
// files and extended attributes (SCHILY.xattr, file capabilities among them) arrive as they left.
//
// Nothing leaves the directory. A name with ".." that climbs out of it is refused. Everything else is resolved
// by the kernel as if the directory were / (openat2, RESOLVE_IN_ROOT): behind the link a -> /etc, the entry
// a/passwd is the image's own etc/passwd. The last component of a name is never followed. Targets of symbolic
// links are kept as they are: they have a meaning in the root that is made, and none on this machine.
//
// An archive that costs more than Limits allow is refused, and so is one that a few bytes blow up.
//
// It deliberately does not keep what has no meaning on another machine (attributes of overlayfs, NFS and btrfs,
// access times), and it is not for a directory that others write into at the same time.
package unpack
