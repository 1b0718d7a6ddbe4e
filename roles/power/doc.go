// Package power switches machines: the drivers behind roles.Driver.
//
// Lab asks the virtual rack over HTTP on a unix socket; WOL sends Wake-on-LAN magic packets. Each is a plain
// struct that may be used by many goroutines; package powertest is the suite that every driver which can
// do all three methods passes. The package deliberately keeps no table of machines and never repeats a
// request by itself: the reconciler in package roles decides what to try again.
package power
