package declare

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/images"
	"muster/roles"
)

const example = `roles:
- {name: web, image: web, root: nfs, health: {http: {port: 80, path: /}}, volumes: [{name: www, mount: /srv/www}]}
pools:
- {name: web, role: web, size: {min: 1, max: 20}, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}, priority: 10}
nodes:
- {mac: 52:54:00:aa:00:01, pool: web, labels: {rack: a1}}
`

// everything sets each key once.
const everything = `roles:
- name: db
  description: a database
  image: postgres
  root: nfs
  cmdline: quiet mitigations=off
  volumes:
  - {name: dumps, mount: /srv/dumps}
  - {name: keys, mount: /srv/keys, readonly: true}
  state: [/var/lib/postgresql, /var/log/postgresql]
  vars: {port: 5432, ratio: 0.5, tuned: true, none: ~, mode: 0640, name: db, hosts: [a, 1], deep: {x: {80: http}}}
  files:
  - path: /etc/db.conf
    mode: 0640
    owner: root:postgres
    content: |
      listen {{.Address}}:{{.Vars.port}}
      password {{secret "admin"}}
    reload: [postgresql.service]
  - {path: /etc/motd, content: "{{.Name}}"}
  secrets:
  - {name: admin, length: 40}
  - {name: tsig, kind: key, scope: pool, length: 64}
  - {name: host, kind: ssh, scope: slot}
  - {name: tls, kind: tls, names: ["{{.Name}}.example", db.example]}
  health: {tcp: {port: 5432}, interval: 2s, timeout: 500ms, failures: 5}
  build:
    from: oci:registry.example/db:16
    packages: [postgresql]
    services: [postgresql.service]
    kernel: cloud
    suite: trixie
    mirror: "http://deb.example/debian"
    sources: ["deb https://deb.example/pg bookworm main"]
    keys: [/etc/muster/keys/pg.asc]
    hooks: ["systemctl mask apt-daily.timer", "true"]
    epoch: 1700000000
    overlay: /etc/muster/overlays/db
- {name: web, health: {http: {port: 8080, path: /up, host: www.example}}}
- {name: ntp, root: ram, health: {ntp: {port: 1123}}}
- {name: mail, health: {smtp: {port: 587}}}
- {name: imap, health: {imap: {port: 993}}}
- {name: dns, health: {dns: {port: 5353, name: _sip.example., type: TXT}}}
pools:
- name: db
  role: db
  size: {min: 2, max: 3}
  addresses: 10.77.0.50-10.77.0.59
  match:
    arch: [x86_64, arm64]
    firmware: [uefi]
    mac: ["52:54:00:*"]
    uuid: ["4c4c4544-*"]
    manufacturer: [Dell*]
    product: [PowerEdge*]
    serial: ["A?"]
    subnet: [10.77.0.0/24, 10.78.0.0/24]
    circuit: [eth0/*]
    remote: [sw1]
    labels: {rack: a1, "on": "true"}
    memoryMin: 4096
    cpuMin: 4
  priority: -3
  image: postgres:7
  vars: {port: 5433, extra: [x]}
  takeover: 1m30s
  storage: disks
- name: disks
  role: storage
  size: {min: 2, max: 2}
  addresses: 10.77.0.10-10.77.0.11
  pair: {address: 10.77.0.9, disk: {path: /dev/disk/by-path/a, serial: "DATA-*", sizeMin: 0.5}}
nodes:
- {mac: 52:54:00:aa:00:01, pool: db, slot: db-02, labels: {rack: a1}, power: {driver: lab, target: m1}}
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(example), "rack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := roles.Declaration{
		Roles: []roles.Role{{Name: "web", Image: "web", Root: roles.RootNFS, Health: &roles.Health{HTTP: &roles.HTTPCheck{Port: 80, Path: "/"}},
			Volumes: []roles.VolumeMount{{Name: "www", Mount: "/srv/www"}}}},
		Pools: []roles.Pool{{Name: "web", Role: "web", Size: roles.Size{Min: 1, Max: 20}, Priority: 10,
			Addresses: roles.AddressRange{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.39")},
			Match:     &roles.Match{Arch: []string{"x86_64"}}}},
		Nodes: []roles.NodeDeclaration{{MAC: roles.MAC{0x52, 0x54, 0, 0xaa, 0, 1}, Pool: "web", Labels: map[string]string{"rack": "a1"}}},
	}
	if d := cmp.Diff(want, got, addresses); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestParseEverything(t *testing.T) {
	d, err := Parse([]byte(everything), "rack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	db, p := d.Roles[0], d.Pools[0]
	if time.Duration(db.Health.Timeout) != 500*time.Millisecond || !db.Volumes[1].ReadOnly || db.Volumes[0].ReadOnly ||
		time.Duration(p.Takeover) != 90*time.Second || p.Match.CPUMin != 4 || len(p.Match.Subnet) != 2 || p.Match.Labels["on"] != "true" {
		t.Errorf("got %+v", d)
	}
	pair := &roles.PairSpec{Address: netip.MustParseAddr("10.77.0.9"), Disk: roles.DiskRule{Path: "/dev/disk/by-path/a", Serial: "DATA-*", SizeMin: 0.5}}
	if d := cmp.Diff(pair, d.Pools[1].Pair, addresses); d != "" || p.Storage != "disks" {
		t.Errorf("storage %q; pair: -want +got:\n%s", p.Storage, d)
	}
	want := images.Recipe{From: "oci:registry.example/db:16", Packages: []string{"postgresql"}, Services: []string{"postgresql.service"}, Kernel: "cloud",
		Suite: "trixie", Mirror: "http://deb.example/debian", Sources: []string{"deb https://deb.example/pg bookworm main"},
		Keys: []string{"/etc/muster/keys/pg.asc"}, Hooks: []string{"systemctl mask apt-daily.timer", "true"}, Epoch: 1700000000, Overlay: "/etc/muster/overlays/db"}
	if d := cmp.Diff(want, db.Recipe); d != "" {
		t.Errorf("recipe: -want +got:\n%s", d)
	}
	vars := roles.Vars{"port": 5432, "ratio": 0.5, "tuned": true, "none": nil, "mode": "0640", "name": "db", "hosts": []any{"a", 1},
		"deep": map[string]any{"x": map[string]any{"80": "http"}}}
	if d := cmp.Diff(vars, db.Vars); d != "" {
		t.Errorf("vars: -want +got:\n%s", d)
	}
	file := roles.File{Path: "/etc/db.conf", Mode: 0o640, Owner: "root:postgres", Reload: []string{"postgresql.service"},
		Content: "listen {{.Address}}:{{.Vars.port}}\npassword {{secret \"admin\"}}\n"}
	if d := cmp.Diff(file, db.Files[0]); d != "" {
		t.Errorf("file: -want +got:\n%s", d)
	}
	if len(db.Secrets) != 4 || db.Secrets[1].Kind != roles.SecretKey || db.Secrets[1].Scope != "pool" || db.Secrets[1].Length != 64 {
		t.Errorf("secrets %+v", db.Secrets)
	}
}

func TestEncode(t *testing.T) {
	for name, text := range map[string]string{"example": example, "everything": everything, "empty": "", "null": "roles:\npools: ~\n", "aliases": aliases} {
		d, err := Parse([]byte(text), "rack.yaml")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := Encode(d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := Parse(out, "export")
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if diff := cmp.Diff(d, again, addresses); diff != "" {
			t.Errorf("%s: -first +second:\n%s", name, diff)
		}
		if twice, _ := Encode(again); string(twice) != string(out) {
			t.Errorf("%s: encoded differently the second time:\n%s\n%s", name, out, twice)
		}
	}
}

const aliases = `roles:
- &web {name: web, health: &h {tcp: {port: 80}}}
- {name: www, health: *h}
pools:
- {name: web, role: web, addresses: 10.77.0.20, match: &m {arch: [x86_64]}}
- {name: www, role: www, addresses: 10.77.0.21, match: *m}
`

// Each row is a whole file and the whole error: what a person reads.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"keys and kinds", `role: []
roles:
- {name: web, imag: web, health: {htp: {port: 80}, interval: 5}, build: {package: [x]}}
- name: ntp
  name: npt
  volumes: {name: x}
  health: 80
pools:
- {name: web, rol: web, addresses: 10.77.0.x, size: {max: many}, match: {arch: x86_64, subnet: [10.77.0.0], labels: [a], memorymin: 1}}
- web
nodes:
  mac: 52:54:00:aa:00:01
`, `
rack.yaml:1: role: unknown key; did you mean "roles"?
rack.yaml:3: roles[0].imag: unknown key; did you mean "image"?
rack.yaml:3: roles[0].health.htp: unknown key; did you mean "http"?
rack.yaml:3: roles[0].health.interval: "5" is not a duration (want the form 1h, 90m, 45s)
rack.yaml:3: roles[0].build.package: unknown key; did you mean "packages"?
rack.yaml:5: roles[1].name: given twice; first on line 4
rack.yaml:6: roles[1].volumes: want a list, such as [a, b], not a mapping
rack.yaml:7: roles[1].health: want the keys http, tcp, ntp, smtp, imap, dns, interval, timeout, failures, not "80"
rack.yaml:9: pools[0].rol: unknown key; did you mean "role"?
rack.yaml:9: pools[0].addresses: "10.77.0.x" is not a range of addresses (want first-last)
rack.yaml:9: pools[0].size.max: "many" is not a whole number
rack.yaml:9: pools[0].match.arch: want a list, such as [x86_64], not "x86_64"
rack.yaml:9: pools[0].match.subnet[0]: "10.77.0.0" is not a network (want the form 10.77.0.0/24)
rack.yaml:9: pools[0].match.labels: want keys and values, such as {key: value}, not a list
rack.yaml:9: pools[0].match.memorymin: unknown key; did you mean "memoryMin"?
rack.yaml:10: pools[1]: want the keys name, role, size, addresses, match, priority, image, vars, takeover, pair, storage, not "web"
rack.yaml:12: nodes: want a list, such as [a, b], not a mapping`},
		{"the server's configuration", "data: /x\ndhcpd: {interfaces: [eth1]}\npools: []\n", `
rack.yaml:1: data: not part of a rack: data belongs to muster.yaml, the configuration of the boot server
rack.yaml:2: dhcpd: not part of a rack: dhcpd belongs to muster.yaml, the configuration of the boot server`},
		{"domain", `nodes:
- {mac: 52:54:00:aa:00:01, slot: web-01}
- mac: 52-54-00-AA-00-01
  power: {target: x}
- {pool: web}
- {mac: "01:00:5e:00:00:01"}
pools:
- name: web
  role: web
  addresses: 10.77.0.20-10.77.0.29
  size: {min: 3, max: 20}
  match: {firmware: [efi], mac: ["[a"]}
- {name: W, addresses: 10.77.0.25}
- {name: web, role: web, size: {min: -1}, image: "web:x", takeover: -1s}
- {name: huge, role: web, addresses: 10.0.0.0-10.255.255.255}
roles:
- name: web
  root: nfsv4
  image: "web:7"
  cmdline: "a\nb"
  volumes: [{name: W, mount: srv}, {name: a, mount: /srv/a}]
  state: [/, /srv/a, /etc]
  health: {http: {}, tcp: {port: 70000}}
  build: {kernel: tiny}
- {name: "", health: {failures: -1, ntp: {}}}
- {name: ram, root: ram}
`, `
rack.yaml:2: node 52:54:00:aa:00:01: slot: needs a pool
rack.yaml:3: node 52:54:00:aa:00:01: declared twice
rack.yaml:4: node 52:54:00:aa:00:01: power: needs a driver
rack.yaml:5: node: mac: is missing
rack.yaml:6: node 01:00:5e:00:00:01: mac: 01:00:5e:00:00:01 is a group's address, not a machine's
rack.yaml:11: pool web: size: max is 20, but addresses 10.77.0.20-10.77.0.29 are only 10
rack.yaml:12: pool web: match: the pattern "[a" is malformed
rack.yaml:12: pool web: match: firmware "efi" is not known (want bios or uefi)
rack.yaml:13: pool W: name: "W" is not a DNS label (a-z, 0-9 and -)
rack.yaml:13: pool W: role: is missing
rack.yaml:13: pool W: addresses: 10.77.0.25 overlaps with 10.77.0.20-10.77.0.29 of pool web
rack.yaml:14: pool web: declared twice
rack.yaml:14: pool web: addresses: is missing (want first-last)
rack.yaml:14: pool web: size: min and max cannot be negative
rack.yaml:14: pool web: image: "web:x" is not an image (want name or name:version)
rack.yaml:14: pool web: takeover: cannot be negative
rack.yaml:15: pool huge: size: 16777216 slots are too many (at most 10000); set max
rack.yaml:15: pool huge: addresses: 10.0.0.0-10.255.255.255 overlaps with 10.77.0.20-10.77.0.29 of pool web
rack.yaml:15: pool huge: addresses: 10.0.0.0-10.255.255.255 overlaps with 10.77.0.25 of pool W
rack.yaml:18: role web: root: "nfsv4" is not known (want nfs or ram)
rack.yaml:19: role web: image: "web:7" is not an image name (without a version; a pool pins one)
rack.yaml:20: role web: cmdline: must be one line
rack.yaml:21: role web: volumes: "W" is not a DNS label
rack.yaml:21: role web: volumes: "srv" is not a clean absolute path below /, or hides the system
rack.yaml:22: role web: state: "/" is not a clean absolute path below /, or hides the system
rack.yaml:22: role web: state: /srv/a is mounted twice
rack.yaml:22: role web: state: "/etc" is not a clean absolute path below /, or hides the system
rack.yaml:23: role web: health: wants exactly one of http, tcp, ntp, smtp, imap and dns
rack.yaml:23: role web: health: port 70000 is not between 1 and 65535
rack.yaml:24: role web: build: kernel "tiny" is not known (want full or cloud)
rack.yaml:25: role: name: "" is not a DNS label (a-z, 0-9 and -)
rack.yaml:25: role: health: interval, timeout and failures cannot be negative`},
		{"files", `roles:
- name: web
  files:
  - {path: etc/a, mode: 0888, content: x}
`, `
rack.yaml:4: roles[0].files[0].mode: "0888" is not a file mode (want octal: 0640)`},
		{"files and secrets", `roles:
- name: web
  vars:
    max-conn: 1
    ok: [1]
  state: [/var/lib/web]
  files:
  - {path: etc/a, content: x}
  - {path: /etc/a, content: x}
  - path: /etc/a
    owner: root
    content: |
      {{.Name}}
      {{.Naem}}
      {{range .Peers}}{{.MAC}}{{end}}
    reload: [ok.service, -x, "a b"]
  - {path: /etc/a/b, owner: "0:0", content: "{{if"}
  - {path: /proc/sys/kernel/x, content: x}
  - {path: /run/muster, content: x}
  - {path: /run/musterd/x, content: x}
  - {path: "/etc/a\nb", content: x}
  - {path: /etc/b/, content: x}
  - {path: /var/lib/web, content: '{{nofunc}}'}
  secrets:
  - {name: A_b}
  - {name: ok, kind: rsa, scope: rack, length: 3}
  - {name: ok, length: 3}
  - {name: k, kind: key, length: 10000, names: [a]}
  - {name: s, kind: ssh, length: 24}
  - name: t
    kind: tls
    names: ["{{.Name}}", "{{"]
pools:
- {name: web, role: web, addresses: 10.77.0.20, vars: {a.b: 1, x: [{y: .nan}]}}
`, `
rack.yaml:4: role web: vars.max-conn: "max-conn" cannot be a variable (want letters, digits and _): a template says .Vars.name
rack.yaml:7: role web: files: /var/lib/web cannot be a file: something is mounted there
rack.yaml:8: role web: files[0].path: "etc/a" is not a clean absolute path
rack.yaml:10: role web: files[2].path: /etc/a is declared twice
rack.yaml:11: role web: files[2].owner: "root" is not an owner (want user:group, by name)
rack.yaml:12: role web: files[2].content: /etc/a: line 2: .Naem: a file's data has no such field (it has Name, Number, FQDN, Address, Network, Router, DNS, Domain, Server, Role, Image, Pool, Pools, Peers, Vars)
rack.yaml:12: role web: files[2].content: /etc/a: line 3: .MAC: a slot has no such field (it has Name, FQDN, Number, Address)
rack.yaml:16: role web: files[2].reload: "-x" is not the name of a unit
rack.yaml:16: role web: files[2].reload: "a b" is not the name of a unit
rack.yaml:17: role web: files[3].owner: "0:0" is not an owner (want user:group, by name)
rack.yaml:17: role web: files[3].content: /etc/a/b: line 1: unclosed action
rack.yaml:17: role web: files[3].path: /etc/a cannot be a file: /etc/a/b is below it
rack.yaml:18: role web: files[4].path: /proc/sys/kernel/x is in /proc, which is not for files
rack.yaml:19: role web: files[5].path: /run/muster is in /run/muster, which is not for files
rack.yaml:21: role web: files[7].path: "/etc/a\nb" has control characters, or is too long
rack.yaml:22: role web: files[8].path: "/etc/b/" is not a clean absolute path
rack.yaml:23: role web: files[9].content: /var/lib/web: line 1: function "nofunc" not defined
rack.yaml:25: role web: secrets[0].name: "A_b" is not a DNS label
rack.yaml:26: role web: secrets[1].scope: "rack" is not known (want slot or pool)
rack.yaml:26: role web: secrets[1].kind: "rsa" is not known (want password, key, ssh or tls)
rack.yaml:27: role web: secrets[2].name: ok is declared twice
rack.yaml:27: role web: secrets[2].length: 3 is not between 8 and 256
rack.yaml:28: role web: secrets[3].length: 10000 is not between 8 and 512
rack.yaml:28: role web: secrets[3].names: are for kind tls only, not key
rack.yaml:29: role web: secrets[4].length: is not for kind ssh
rack.yaml:32: role web: secrets[5].names[1]: "{{": line 1: unclosed action
rack.yaml:34: pool web: vars.a.b: "a.b" cannot be a variable (want letters, digits and _): a template says .Vars.name
rack.yaml:34: pool web: vars.x: a number must be finite`},
		{"variables", "pools:\n- {name: web, role: web, addresses: 10.77.0.20, vars: [a]}\n- vars:\n    a: 1\n    a: 2\n    b: {<<: {x: 1}, [k]: 2, y: 1, y: 2}\n", `
rack.yaml:2: pools[0].vars: want keys and values, such as {key: value}, not a list
rack.yaml:5: pools[1].vars.a: given twice; first on line 4
rack.yaml:6: pools[1].vars.b: "<<" cannot be a key
rack.yaml:6: pools[1].vars.b: a list cannot be a key
rack.yaml:6: pools[1].vars.b.y: given twice; first on line 6`},
		{"a number that is none", "pools: [{name: web, role: web, addresses: 10.77.0.20, vars: {x: .inf}}]\n", `
rack.yaml:1: pool web: vars.x: a number must be finite`},
		{"health and build", `roles:
- name: web
  health: {smtp: {}, imap: {port: -1}}
  build:
    from: ftp:x
    sources: ["http://deb.example bookworm", "deb x\ndeb y"]
    keys: [key.asc]
    hooks:
    - "true"
    - " "
- name: dns
  health:
    dns:
      name: a b
      type: SRV
  build: {from: "tar:root.tar", epoch: -1}
`, `
rack.yaml:3: role web: health: wants exactly one of http, tcp, ntp, smtp, imap and dns
rack.yaml:3: role web: health: port -1 is not between 1 and 65535
rack.yaml:5: role web: build.from: "ftp:x" is not known (want oci:REFERENCE, oci-layout:DIR[:TAG], tar:FILE, dir:DIR or iso:FILE)
rack.yaml:6: role web: build.sources[0]: "http://deb.example bookworm" is not a line of sources.list (want the form: deb https://deb.example/debian bookworm main)
rack.yaml:6: role web: build.sources[1]: "deb x\ndeb y" is not a line of sources.list (want the form: deb https://deb.example/debian bookworm main)
rack.yaml:7: role web: build.keys[0]: "key.asc" is not an absolute path: the boot server reads it
rack.yaml:10: role web: build.hooks[1]: is empty
rack.yaml:14: role dns: health.dns.name: "a b" is not a DNS name
rack.yaml:15: role dns: health.dns.type: "SRV" is not known (want A, AAAA, NS, SOA, MX, TXT)
rack.yaml:16: role dns: build.from: "root.tar" is not an absolute path: the boot server reads it
rack.yaml:16: role dns: build.epoch: -1 is before 1970 (want seconds since then)`},
		{"no yaml", "pools: [\n", `
rack.yaml:1: not YAML: did not find expected node content`},
		{"two documents", "roles: []\n---\npools: []\n", `
rack.yaml: not YAML: there is a second document after a line with ---; put everything into one`},
		{"a list", "- {name: web}\n", `
rack.yaml:1: want the keys roles, pools, nodes, not a list`},
		{"merge", "roles:\n- &a {name: a}\n- {<<: *a}\n", `
rack.yaml:3: roles[1].<<: unknown key; there are name, description, image, root, cmdline, volumes, state, vars, files, secrets, health, build`},
		{"an alias of itself", "roles: &a\n- {name: a, volumes: *a}\n", `
rack.yaml:2: roles[0].volumes[0].volumes: unknown key; there are name, mount, readonly, coherent, rootSquash`},
		{"labels", "nodes:\n- mac: 52:54:00:aa:00:01\n  labels: {a: [b], c: d, c: e, [f]: g}\n", `
rack.yaml:3: nodes[0].labels.a: want one value, not a list
rack.yaml:3: nodes[0].labels.c: given twice; first on line 3
rack.yaml:3: nodes[0].labels: a list cannot be a key`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.file), "rack.yaml")
			if err == nil {
				t.Fatal("accepted")
			}
			if !errors.Is(err, fs.ErrInvalid) {
				t.Error("the error is no fs.ErrInvalid")
			}
			if d := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), err.Error()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestParseRole(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"keys", "name: web\nvolume: []\nstate: /var\npools: []\n", `
web/role.yaml:2: volume: unknown key; did you mean "volumes"?
web/role.yaml:3: state: want a list, such as [/var], not "/var"
web/role.yaml:4: pools: unknown key; there are name, description, image, root, cmdline, volumes, state, vars, files, secrets, health, build`},
		{"domain", "name: web\nstate: [x]\nbuild:\n  kernel: tiny\n", `
web/role.yaml:2: role web: state: "x" is not a clean absolute path below /, or hides the system
web/role.yaml:3: role web: build: kernel "tiny" is not known (want full or cloud)`},
		{"empty", "", `
web/role.yaml: role: name: "" is not a DNS label (a-z, 0-9 and -)`},
	} {
		_, err := ParseRole([]byte(tt.file), "web/role.yaml")
		if err == nil || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want an fs.ErrInvalid", tt.name, err)
			continue
		}
		if d := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), err.Error()); d != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, d)
		}
	}
	got, err := ParseRole([]byte("name: web\nhealth: {http: {}}\n"), "web/role.yaml")
	if err != nil || got.Name != "web" || got.Health == nil || got.Health.HTTP == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestExplain(t *testing.T) {
	const file = `pools:
- &p
  name: web
  role: web
  addresses: 10.77.0.20-10.77.0.29
nodes:
- mac: 52-54-00-AA-00-01
  pool: web
`
	faults := roles.Faults{
		&roles.Fault{List: "nodes", Name: "52:54:00:aa:00:01", Field: "pool", Text: "is full"},
		&roles.Fault{List: "pools", Name: "web", Field: "addresses", Text: "are taken"},
		&roles.Fault{List: "pools", Name: "web", Text: "cannot be"},
		&roles.Fault{List: "pools", Name: "web", Field: "image", Text: "has no field in the file"},
		&roles.Fault{List: "pools", Name: "old", Text: "is not in the file"},
		errors.New("something else"),
	}
	const want = `rack.yaml: pool old: is not in the file
rack.yaml: something else
rack.yaml:2: pool web: cannot be
rack.yaml:2: pool web: image: has no field in the file
rack.yaml:5: pool web: addresses: are taken
rack.yaml:8: node 52:54:00:aa:00:01: pool: is full`
	err := Explain(faults, []byte(file), "rack.yaml")
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	var f *roles.Fault
	if !errors.Is(err, fs.ErrInvalid) || !errors.As(err, &f) {
		t.Errorf("%v has lost its kind", err)
	}
	if other := errors.New("no space left on device"); Explain(other, []byte(file), "rack.yaml") != other {
		t.Error("an error that is no fault was changed")
	}
}

// What parses is written so that the same is read; nothing panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{example, everything, aliases, "roles: [{name: a, vars: &v {a: *v}}]", "roles: [{name: a, vars: {a: 010, b: 0o10, c: -00, d: 1e400, e: 1e7, f: 18446744073709551615, g: 2001-01-01, h: !!str 5, i: !!binary AA, 5: y}}]", "", "a: &a [*a]", "roles: [~, {}]", "nodes: [{mac: !!binary AAAA}]", "pools: [{<<: {name: a}}]",
		"nodes: [{mac: 52:54:00:aa:00:01, labels: {~: ~, 1: 2, \"a\\nb\": \"\\u2028\"}}]", "roles: [{name: a, state: [\"/a\\0\"]}]",
		"pools: [{name: a, role: b, addresses: 0.0.0.0-0.0.39.15, takeover: 9999h, priority: 0x10}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = ParseRole(text, "role.yaml")
		d, err := Parse(text, "rack.yaml")
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), fs.ErrInvalid.Error()+":") {
				t.Errorf("bad error %q", err)
			}
			return
		}
		out, err := Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out, "export")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(d, again, addresses, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-first +second:\n%s\n%s", diff, out)
		}
	})
}

// What a person reads in an export is what a person would write.
func TestEncodeFiles(t *testing.T) {
	d, err := Parse([]byte(everything), "rack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mode: 0640\n", "content: |\n", "port: 5432\n", "ratio: 0.5\n", "tuned: true\n", "mode: \"0640\"\n", "none: null\n", "- 1\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the export\n%s", want, out)
		}
	}
}

// The library's own files are read by this package: they must be right.
func TestLibrary(t *testing.T) {
	for _, name := range []string{"web", "ntp"} {
		path := "../library/" + name + "/role.yaml"
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := ParseRole(text, path); err != nil || r.Name != name {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
