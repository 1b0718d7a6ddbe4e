package e2e

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/tests/rack"
)

// resolverYAML is a role of a user's own, which no line of Muster knows: packages, a service, a check. It says
// nothing of the kernel, so its image has Debian's full one, as every machine in a real rack gets.
const resolverYAML = `
roles:
- name: resolver
  description: dnsmasq, answering DNS
  build: {packages: [dnsmasq], services: [dnsmasq.service]}
  health: {tcp: {port: 53}, interval: 1s}
pools:
- {name: resolver, role: resolver, size: {min: 1, max: 2}, addresses: 10.77.0.40-10.77.0.41, match: {product: ["PowerEdge *"]}, priority: 20}
`

// initrdBudget is what a machine with the full kernel may have to fetch before its agent runs.
const initrdBudget = 40 << 20

// TestRealNetworkCard boots the default image on a machine whose card is not a virtual machine's.
func TestRealNetworkCard(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it builds an image and boots a machine")
	}
	declared := filepath.Join(t.TempDir(), "resolver.yaml")
	write(t, declared, resolverYAML)
	if err := buildImage("resolver", declared); err != nil {
		t.Fatal(err)
	}
	img, err := (&images.Catalog{Dir: filepath.Join(work.images, "images")}).Find(images.Ref{Name: "resolver"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: kernel %s, initrd %.1f MB, %d files of %.0f MB", img.Ref, img.Kernel, float64(img.InitrdSize)/1e6, img.Files, float64(img.Size)/1e6)
	if img.Flavour != images.KernelFull || strings.Contains(img.Kernel, "cloud") {
		t.Errorf("the default kernel is %s (%s), want Debian's full one", img.Kernel, img.Flavour)
	}
	if img.InitrdSize > initrdBudget {
		t.Errorf("the initrd has %d bytes, budget %d", img.InitrdSize, initrdBudget)
	}

	s := newSite(t)
	s.muster("apply", "-f", declared)
	on := time.Now()
	m := s.powerOn(rack.MachineSpec{Name: "real", Firmware: rack.BIOS, NIC: rack.E1000E, Manufacturer: "Dell Inc.", Product: "PowerEdge R640"})
	n := s.waitReady(m.MAC().String(), "resolver-01")
	t.Logf("power-on → ready %.1f s", time.Since(on).Seconds())
	s.report("resolver-01", m)
	if inv := n.Facts.Inventory; inv == nil || len(inv.NICs) != 1 || inv.NICs[0].Driver != "e1000e" {
		t.Errorf("the machine says of itself %+v, want one card, driven by e1000e", inv)
	}
	if got := s.lookup(n.Address, "resolver-01.rack.example"); got != n.Address.String() {
		t.Errorf("the resolver says that resolver-01 is %s, want %s", got, n.Address)
	}
}

// lookup asks a name server for a name's address.
func (s *site) lookup(server netip.Addr, name string) string {
	s.t.Helper()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return s.rack.Dial(ctx, network, netip.AddrPortFrom(server, 53).String())
	}}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	found, err := r.LookupNetIP(ctx, "ip4", name+".")
	if err != nil || len(found) == 0 {
		s.t.Errorf("%s does not resolve %s: %v", server, name, err)
		return ""
	}
	return found[0].String()
}
