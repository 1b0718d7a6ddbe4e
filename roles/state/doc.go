// Package state keeps the rack: roles.Store with go-memdb for reading in front of a Backend that makes
// every change durable.
//
// A write goes to the backend first, then becomes visible, then is acknowledged. Reads never touch the
// backend and never wait for a writer. Concurrent Updates share one durable commit (see batch.go); DHCP
// leases have an index of their own behind the same backend and the same revision, and wait for at most
// the commit that is under way (see leases.go).
//
// The file backend is one bbolt file, and a journal of leases beside it in two files of a fixed size (journal.go): one
// write and one sync in the place of bbolt's pages and the file system's own journal. It is folded into bbolt every few
// seconds and at a clean stop, after which a muster that knows no journal can go on with the bbolt file alone. A copy
// of the state is a copy of all three files, of a server that is stopped. bbolt's own Batch is not used: it waits up to
// 10 ms for company.
//
// The package deliberately has no rules of the rack beyond what a database checks: keys, unique
// addresses and occupants, bounds of history. It does not replicate, does not expire leases and does not
// encrypt; the file holds one-time tokens and is readable for its owner only.
package state
