// Package e2e runs Muster's real binaries in a virtual rack: machines without disks are switched on and
// boot with their own firmware into images that Muster built, with their root on NFS, systemd and real
// services. It has tests alone. They need root and what make setup installs.
package e2e
