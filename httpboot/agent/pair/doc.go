// Package pair is the node's half of a storage pair: it runs on the two machines that replicate a disk with DRBD
// under Pacemaker.
//
// It decides nothing that Pacemaker decides. It finds and prepares the disk, starts the cluster when the boot
// server says that it may, keeps what the active half exports as the server wants it, and is the three programs
// that Pacemaker and DRBD call: the resource agent, the fence agent and the fence-peer handler.
//
// A disk is never guessed, and nothing that carries anything is written to without an operator's word.
package pair
