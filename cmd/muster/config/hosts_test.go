package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/roles"
)

const hostsHead = `dhcpd:
  interfaces: [eth1]
  subnets:
  - subnet: 10.77.0.0/24
    range: 10.77.0.100-10.77.0.199
    router: 10.77.0.1
    hosts:
`

func TestHosts(t *testing.T) {
	got, err := Parse([]byte(hostsHead + `    - {mac: 52-54-00-AA-00-01, address: 10.77.0.150, hostname: printer}
    - {mac: 52:54:00:aa:00:02, address: 10.77.0.5}
  - {subnet: 10.78.0.0/24, range: 10.78.0.100-10.78.0.199, hosts: [{mac: 52:54:00:aa:00:01, address: 10.78.0.5, hostname: printer}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Host{
		{MAC: roles.MAC{0x52, 0x54, 0, 0xaa, 0, 1}, Address: addr("10.77.0.150"), Hostname: "printer"},
		{MAC: roles.MAC{0x52, 0x54, 0, 0xaa, 0, 2}, Address: addr("10.77.0.5")},
	}
	if d := cmp.Diff(want, got.DHCPD.Subnets[0].Hosts, equal...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestHostFaults(t *testing.T) {
	_, err := Parse([]byte(hostsHead + `    - {mac: 52:54:00:aa:00:01, address: 10.77.0.150, hostname: printer}
    - {mac: 52:54:00:aa:00:01, address: 10.77.0.151}
    - {mac: 52:54:00:aa:00:02, address: 10.77.0.150, hostname: printer}
    - {address: 10.79.0.1, hostname: a.b}
    - {mac: 01:00:5e:00:00:01, address: 10.77.0.255}
    - {mac: 52:54:00:aa:00:03, address: 10.77.0.1}
    - {mac: 52:54:00:aa:00:04}
`))
	if err == nil {
		t.Fatal("it was accepted")
	}
	want := `line 9: dhcpd.subnets[0].hosts[1].mac: 52:54:00:aa:00:01 is that of hosts[0], 10.77.0.150: a machine has one address in a subnet
line 10: dhcpd.subnets[0].hosts[2].address: 10.77.0.150 is that of hosts[0], 52:54:00:aa:00:01
line 10: dhcpd.subnets[0].hosts[2].hostname: "printer" is the name of 52:54:00:aa:00:01 already
line 11: dhcpd.subnets[0].hosts[3].mac: not given: the machine's hardware address, such as 52:54:00:aa:00:01
line 11: dhcpd.subnets[0].hosts[3].address: 10.79.0.1 is not inside of 10.77.0.0/24
line 11: dhcpd.subnets[0].hosts[3].hostname: "a.b" is not a host name (want letters, digits and hyphens, without a domain)
line 12: dhcpd.subnets[0].hosts[4].mac: 01:00:5e:00:00:01 is a group's address: no machine has it
line 12: dhcpd.subnets[0].hosts[4].address: 10.77.0.255 is not the address of a machine: it is the network's own or its broadcast address
line 13: dhcpd.subnets[0].hosts[5].address: 10.77.0.1 is the router's
line 14: dhcpd.subnets[0].hosts[6].address: not given: the machine's address, in 10.77.0.0/24`
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
