// Package config reads muster.yaml, which says how this boot server runs: its interfaces, subnets,
// directories and backends.
//
// It is strict. A key that it does not know is an error with its line and the nearest key that it does
// know; every fault of a file is reported at once. What is not written has the default that its field
// documents. Detect finds out what a first configuration needs and Write puts it into a short file: that
// is `muster setup`.
//
// Roles, pools and nodes are deliberately not configuration: they are declared with `muster apply` and
// live in the store. The package reads no environment and no flags: main does, and passes the path.
package config
