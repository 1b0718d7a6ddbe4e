// Package names is the part of the world's DNS that a name server of ours needs to show what it can: a root of its
// own, a zone that is far away, and a hidden primary with its zone, all by one knotd(8) of Knot DNS 3. Secondaries
// transfer with a key (RFC 8945), after a NOTIFY (RFC 1996).
//
// It makes files only; the test runs the server where it wants it. It deliberately signs nothing.
package names

import (
	"fmt"
	"net/netip"
)

// Zone is a zone with a serial, and what else is in it, as lines of its file.
func Zone(serial int, lines string) string {
	return fmt.Sprintf("@ 60 SOA ns.name. admin.name. %d 3600 600 86400 60\n@ 60 NS ns.name.\n%s\n", serial, lines)
}

// Files are the files of the server at self, by name: knot.conf and the zones. dir is where it finds them and puts its
// own, secondary who may transfer hidden.example and is told when it has changed, and secret the key that is called
// muster (hmac-sha256), in base64.
//
// www.far.name is 198.51.100.7, www.hidden.example 192.0.2.1.
func Files(dir string, self, secondary netip.Addr, secret string) map[string]string {
	return map[string]string{
		"knot.conf":           fmt.Sprintf(conf, dir, self, secondary, secret),
		"root.zone":           fmt.Sprintf(root, self),
		"far.name.zone":       Zone(1, "www 60 A 198.51.100.7"),
		"hidden.example.zone": Zone(1, "www 60 A 192.0.2.1"),
	}
}

const root = `. 60 SOA a.root-servers.name. admin.name. 1 3600 600 86400 60
. 60 NS a.root-servers.name.
a.root-servers.name. 60 A %s
far.name. 60 NS a.root-servers.name.
`

const conf = `server:
    listen: %[2]s@53
    rundir: %[1]s
log:
  - target: stderr
    any: info
database:
    storage: %[1]s
key:
  - id: muster
    algorithm: hmac-sha256
    secret: %[4]s
remote:
  - id: secondary
    address: %[3]s
    key: muster
acl:
  - id: out
    key: muster
    action: transfer
template:
  - id: default
    storage: %[1]s
    file: "%%s.zone"
    acl: out
    journal-content: none
    zonefile-sync: -1
zone:
  - domain: .
    file: root.zone
  - domain: far.name
  - domain: hidden.example
    notify: secondary
`
