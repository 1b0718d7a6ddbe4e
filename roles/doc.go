// Package roles is Muster's domain: what a rack is made of and the rules by which machines get their work.
//
// A Node is one machine; a Role says what a node does; a Pool holds interchangeable nodes of one role in
// numbered Slots; a Boot is one attempt of one node to come up, a timeline of Events. Resolve is the pure
// rule that gives a machine its slot; Registry applies it durably, one transaction at a time, and is what
// the boot services and the operators' API call.
//
// The package knows no protocol, no database and no clock: it declares the Store that it needs, times are
// arguments or come from a field, and it imports only package images. It deliberately does not talk to
// machines: power, health and exports are interfaces that adapters implement.
package roles
