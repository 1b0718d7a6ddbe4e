package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each row is a whole file and the whole error: what a person reads.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", `
dhcpd.interfaces: none given: name those that the machines boot from, such as [eth1]
dhcpd.subnets: none given: at least the network of an interface, such as [{subnet: 10.77.0.0/24, range: 10.77.0.128-10.77.0.254}]`},
		{"no yaml", "dhcpd: [\n", `
line 1: not YAML: did not find expected node content`},
		{"unknown keys", minimal + `tftp: {}
httpboot:
  listn: ":80"
images: {nfs: {kind: auto}}
pools: []
Data: /x
`, `
line 4: tftp: unknown key; did you mean "tftpd"?
line 6: httpboot.listn: unknown key; did you mean "listen"?
line 7: images.nfs.kind: unknown key; there are server, address, path, port, mountport
line 8: pools: not configuration: declare pools in rack.yaml and run: muster apply -f rack.yaml
line 9: Data: unknown key; did you mean "data"?`},
		{"twice", "data: /a\n" + minimal + "data: /b\n", `
line 5: data: given twice; first on line 1`},
		{"kinds", `dhcpd:
  interfaces: eth1
  subnets: {subnet: 10.0.0.0/8}
log: info
data: [/x]
`, `
line 2: dhcpd.interfaces: want a list, such as [eth1], not "eth1"
line 3: dhcpd.subnets: want a list, such as [a, b], not a mapping
line 4: log: want the keys level, format, not "info"
line 5: data: want one value, not a list`},
		{"values", `dhcpd:
  interfaces: [eth1]
  subnets:
  - subnet: 10.77.0.0
    range: 10.77.0.9-10.77.0.2
    router: gw
    dns: [10.77.0.1, 8.8.8]
    lease: 3600
log: {level: loud}
images: {nfs: {port: 70000}}
`, `
line 4: dhcpd.subnets[0].subnet: "10.77.0.0" is not a network (want the form 10.77.0.0/24)
line 5: dhcpd.subnets[0].range: "10.77.0.9-10.77.0.2": the last address is before the first
line 6: dhcpd.subnets[0].router: "gw" is not an address (want the form 10.77.0.1)
line 7: dhcpd.subnets[0].dns[1]: "8.8.8" is not an address (want the form 10.77.0.1)
line 8: dhcpd.subnets[0].lease: "3600" is not a duration (want the form 1h, 90m, 45s)
line 9: log.level: "loud" is not a level (want debug, info, warn or error)
line 10: images.nfs.port: "70000" is not a port (0 to 65535)`},
		{"subnets", `dhcpd:
  interfaces: [eth1, eth1, lo, "a name that is too long"]
  subnets:
  - {subnet: 10.77.0.5/24, range: 10.77.0.9}
  - {subnet: 10.1.0.0/16, range: 10.2.0.1-10.2.0.9, router: 10.2.0.1}
  - subnet: 10.1.2.0/24
    range: 10.1.2.0-10.1.2.9
    lease: 2s
    domain: "-x"
  - {subnet: 10.3.0.0/24, range: 10.3.0.250-10.3.0.255, router: 10.3.0.255, dns: [10.3.0.250, 127.0.0.53]}
  - {range: 10.4.0.1}
  - {subnet: "fd00::/64"}
  - {subnet: 10.5.0.0/31}
  - {subnet: 10.6.0.0/24}
  - {subnet: 10.8.0.0/24, range: 10.8.0.1-10.8.0.9, router: 10.8.0.1}
`, `
line 2: dhcpd.interfaces[1]: "eth1" is given twice
line 2: dhcpd.interfaces[2]: no machine boots from the loopback interface
line 2: dhcpd.interfaces[3]: "a name that is too long" is not the name of an interface (see: ip link)
line 4: dhcpd.subnets[0].subnet: 10.77.0.5/24 is an address in a network; did you mean 10.77.0.0/24?
line 5: dhcpd.subnets[1].range: 10.2.0.1-10.2.0.9 is not inside of 10.1.0.0/16
line 5: dhcpd.subnets[1].router: 10.2.0.1 is not inside of 10.1.0.0/16: machines could not reach it
line 6: dhcpd.subnets[2].subnet: 10.1.2.0/24 overlaps dhcpd.subnets[1], 10.1.0.0/16
line 7: dhcpd.subnets[2].range: 10.1.2.0-10.1.2.9 contains 10.1.2.0, which names the network itself
line 8: dhcpd.subnets[2].lease: 2s is too short: at least 10s
line 9: dhcpd.subnets[2].domain: "-x" is not a domain name (want the form rack.example)
line 10: dhcpd.subnets[3].range: 10.3.0.250-10.3.0.255 contains 10.3.0.255, the broadcast address
line 10: dhcpd.subnets[3].range: 10.3.0.250-10.3.0.255 contains the name server 10.3.0.250
line 10: dhcpd.subnets[3].router: 10.3.0.255 is not the address of a machine
line 10: dhcpd.subnets[3].dns[1]: nodes cannot ask 127.0.0.53
line 11: dhcpd.subnets[4].subnet: not given: the network, such as 10.77.0.0/24
line 12: dhcpd.subnets[5].subnet: fd00::/64: machines boot over IPv4 only
line 13: dhcpd.subnets[6].subnet: 10.5.0.0/31: want a network of /8 to /30
line 14: dhcpd.subnets[7].range: not given: the addresses for machines without a slot, first-last, in 10.6.0.0/24
line 15: dhcpd.subnets[8].range: 10.8.0.1-10.8.0.9 contains the router, 10.8.0.1`},
		{"tftp", minimal + `tftpd: {blksize: 70000, quirks: [{mac: "00:A0"}, {mac: "00:a0:b0", window: 65, blksize: 4, rollover: 2}]}
`, `
line 4: tftpd.blksize: 70000 is no block size (want 8 to 65464 bytes)
line 4: tftpd.quirks[0].mac: "00:A0" is not how a MAC address begins (want the form 00:a0:b0, in lower case)
line 4: tftpd.quirks[1].blksize: 4 is no block size (want 8 to 65464 bytes)
line 4: tftpd.quirks[1].window: 65 is no window (want 1 to 64 blocks)
line 4: tftpd.quirks[1].rollover: block 2 does not follow 65,535 anywhere (want 0 or 1)`},
		{"the rest", minimal + `data: muster
tftpd: {listen: 69}
httpboot: {listen: ":65536"}
images: {nfs: {server: externl}}
api: {socket: s, listen: ":8081"}
state: {backend: etcd}
log: {format: xml}
power: {lab: {socket: /` + strings.Repeat("x", 107) + `}}
`, `
line 4: data: "muster" is not an absolute path (it begins with /)
line 5: tftpd.listen: "69" is not an address to listen on (want the form ":8080" or "10.77.0.1:8080")
line 6: httpboot.listen: "65536" is not a port (0 to 65535)
line 7: images.nfs.server: "externl" is not one of auto, ganesha, kernel, external; did you mean "external"?
line 8: api.socket: "s" is not an absolute path (it begins with /)
line 8: api.listen: ":8081" is not a loopback address: everybody on that network could run the rack (want 127.0.0.1:8081, and ssh to it, or api.secure)
line 9: state.backend: etcd is not supported yet; want file
line 10: log.format: "xml" is not one of text, json
line 11: power.lab.socket: the path has 108 bytes; a unix socket's may have 107`},
		{"external", minimal + "images:\n  nfs: {server: external}\n", `
line 5: images.nfs.address: not given: with server external, nodes must know where to mount from`},
		{"path without external", minimal + "images: {nfs: {path: /x, address: 127.0.0.1}}\nhttpboot: {templates: t, files: f}\n", `
line 4: images.nfs.address: nodes cannot mount from 127.0.0.1
line 4: images.nfs.path: only server external has a path of its own
line 5: httpboot.templates: "t" is not an absolute path (it begins with /)
line 5: httpboot.files: "f" is not an absolute path (it begins with /)`},
		{"secure", minimal + "api: {secure: rack, listen: 127.0.0.1:8082}\n", `
line 4: api.secure: "rack" is not an address to listen on (want the form ":8080" or "10.77.0.1:8080")`},
		{"secure and plain", minimal + "api: {secure: ':8081'}\n", `
line 4: api.secure: port 8081 is api.listen's already`},
		{"certificate", minimal + "api: {certificate: /etc/rack.pem}\n", `
line 4: api.certificate: api.secure is not set: nothing would use it`},
		{"one port", minimal + "api: {listen: 127.0.0.1:8080}\n", `
line 4: api.listen: port 8080 is httpboot.listen's already`},
		{"one port for TLS", minimal + "httpboot: {listen: \":8080\", secure: \"10.77.0.1:8080\"}\n", `
line 4: httpboot.secure: port 8080 is httpboot.listen's already`},
		{"a port on two addresses is fine", minimal + "httpboot: {listen: \"10.77.0.1:8080\", secure: \"10.77.0.2:8080\"}\nx: 1\n", `
line 5: x: unknown key; there are data, library, dhcpd, tftpd, httpboot, images, api, state, log, power`},
		{"two documents", minimal + "---\ndata: /x\n", `
not YAML: there is a second document after a line with ---; put everything into one`},
		{"a list", "- x\n", `
line 1: want the keys data, library, dhcpd, tftpd, httpboot, images, api, state, log, power, not a list`},
		{"merge", minimal + "x: &x {listen: a}\ntftpd: {<<: *x}\n", `
line 4: x: unknown key; there are data, library, dhcpd, tftpd, httpboot, images, api, state, log, power
line 5: tftpd.<<: unknown key; there are listen, ipxe, blksize, singleport, quirks`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.file))
			if err == nil {
				t.Fatal("accepted")
			}
			if d := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), err.Error()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestValidateWithoutFile(t *testing.T) {
	err := Default().Validate()
	if err == nil || !strings.HasPrefix(err.Error(), "dhcpd.interfaces: none given") {
		t.Errorf("got %v", err)
	}
}
