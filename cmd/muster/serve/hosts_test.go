package serve

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/httpboot"
	"muster/roles"
)

const printerMAC, bmcMAC = "52:54:00:cc:00:01", "52:54:00:cc:00:02"

func macOf(t *testing.T, text string) roles.MAC {
	t.Helper()
	m, err := roles.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hostedRack is a rack with two hosts, of which one lies in the dynamic range.
func hostedRack(t *testing.T) *server {
	t.Helper()
	s := rackOf(t)
	net := netip.MustParsePrefix("10.77.0.0/24")
	s.hosts = hostsOf([]config.Subnet{{Subnet: net, Hosts: []config.Host{
		{MAC: macOf(t, printerMAC), Address: netip.MustParseAddr("10.77.0.150"), Hostname: "printer"},
		{MAC: macOf(t, bmcMAC), Address: netip.MustParseAddr("10.77.0.5")},
	}}})
	s.networks = []network{{Server: netip.MustParseAddr("10.77.0.1"), Subnet: dhcpd.Subnet{Prefix: net}}}
	s.recorder = &roles.Recorder{Registry: s.registry}
	return s
}

func TestPolicyOfHosts(t *testing.T) {
	s := hostedRack(t)
	p := policy{s.registry, s.hosts, new(poolCache), new(slotCache)}
	printer := lease.MAC(macOf(t, printerMAC))
	for _, n := range []*dhcpd.Subnet{&s.networks[0].Subnet, {Prefix: netip.MustParsePrefix("10.78.0.0/24")}} {
		got := p.Host(t.Context(), &dhcpd.Request{MAC: printer, Subnet: n})
		if got.Address != netip.MustParseAddr("10.77.0.150") || got.Hostname != "printer" || !got.NoBoot {
			t.Errorf("in %s the printer gets %+v", n.Prefix, got)
		}
	}
	if got := p.Host(t.Context(), &dhcpd.Request{MAC: lease.MAC{2}, Subnet: &s.networks[0].Subnet}); got != (dhcpd.Host{}) {
		t.Errorf("anybody else gets %+v", got)
	}
	if !p.Reserved(netip.MustParseAddr("10.77.0.150")) || p.Reserved(netip.MustParseAddr("10.77.0.151")) {
		t.Error("the printer's address is not kept for it, or its neighbour's is")
	}
}

// record waits until what was seen is recorded.
func record(t *testing.T, s *server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.recorder.Run(ctx) }() // until the test has seen what it recorded
	if err := s.recorder.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

// TestHostIsNoNode: a host that boots from the network by mistake is sent to its own disk, and nobody sees a node.
func TestHostIsNoNode(t *testing.T) {
	s := hostedRack(t)
	r := &dhcpd.Request{MAC: lease.MAC(macOf(t, printerMAC)), PXE: true}
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Discover, Request: r})
	got, err := (&director{server: s}).Script(t.Context(), httpboot.Machine{MAC: printerMAC, Remote: netip.MustParseAddr("10.77.0.150")})
	if err != nil || got.Kind != httpboot.Local {
		t.Errorf("Script = %+v, %v", got, err)
	}
	record(t, s)
	if nodes, err := s.registry.Nodes(); len(nodes) != 0 || err != nil {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
}

func TestCheckHosts(t *testing.T) {
	s := hostedRack(t)
	if err := s.checkHosts(); err != nil {
		t.Fatalf("an empty rack: %v", err)
	}
	addresses, err := roles.ParseAddressRange("10.77.0.4-10.77.0.6")
	if err != nil {
		t.Fatal(err)
	}
	change(t, s, func(tx roles.Tx) error {
		return errors.Join(
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Addresses: addresses}),
			tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addresses.First, Node: macOf(t, printerMAC)}),
			tx.Nodes().Put(roles.Node{MAC: macOf(t, printerMAC), Pool: "web", Slot: "web-01", State: roles.StateReady}),
			// This one only came by: it may be a host.
			tx.Nodes().Put(roles.Node{MAC: macOf(t, bmcMAC), State: roles.StateWaiting}))
	})
	s.networks[0].Server = netip.MustParseAddr("10.77.0.150")
	err = s.checkHosts()
	if !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("checkHosts = %v", err)
	}
	for i, want := range []string{
		"host 52:54:00:cc:00:02, 10.77.0.5: its address is in the addresses of pool web (10.77.0.4-10.77.0.6); give it another one",
		"host 52:54:00:cc:00:01, 10.77.0.150: it is a node of pool web; release it first",
		"host 52:54:00:cc:00:01, 10.77.0.150: its address is this server's own",
	} {
		if got := strings.Split(err.Error(), "\n"); len(got) != 3 || !strings.Contains(got[i], want) {
			t.Errorf("fault %d of %q, want %q", i, got, want)
		}
	}
}

// TestRackKeepsFromHosts: what operators change never takes a host or its address.
func TestRackKeepsFromHosts(t *testing.T) {
	s := hostedRack(t)
	r := rack{s.registry, s.hosts}
	addresses, err := roles.ParseAddressRange("10.77.0.5-10.77.0.9")
	if err != nil {
		t.Fatal(err)
	}
	web := roles.Pool{Name: "web", Role: "web", Addresses: addresses, Size: roles.Size{Max: 2}}
	d := roles.Declaration{Pools: []roles.Pool{web}, Nodes: []roles.NodeDeclaration{{MAC: macOf(t, printerMAC), Pool: "web"}}}
	_, err = r.Apply(t.Context(), d, roles.ApplyOptions{})
	want := "node 52:54:00:cc:00:01: mac: is in dhcpd.subnets[].hosts of muster.yaml, so Muster does not boot it\n" +
		"pool web: addresses: 10.77.0.5 is that of the host 52:54:00:cc:00:02 in muster.yaml"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Apply: %v\nwant %s", err, want)
	}
	if web.Addresses, err = roles.ParseAddressRange("10.77.0.6-10.77.0.9"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), roles.Declaration{Pools: []roles.Pool{web}}, roles.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Assign(t.Context(), printerMAC, "web", ""); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "muster.yaml") {
		t.Errorf("Assign: %v", err)
	}
	if _, err := r.Assign(t.Context(), webMAC, "web", ""); err != nil {
		t.Errorf("Assign of another machine: %v", err)
	}
	if _, err := r.Replace(t.Context(), webMAC, printerMAC); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "muster.yaml") {
		t.Errorf("Replace: %v", err)
	}
}
