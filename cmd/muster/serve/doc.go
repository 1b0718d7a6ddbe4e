// Package serve wires `muster serve`: it turns a configuration into the services and adapters of one boot
// server, opens every socket before anything runs, and joins them.
//
// It holds no rules of its own. What a machine gets is decided by roles.Registry; here its answers become
// what each protocol sends (policy.go, director.go), what the services see becomes sightings (sightings.go),
// and slots become exports and mounts (exports.go).
package serve
