package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/api"
)

func TestOthers(t *testing.T) {
	var o others
	now := time.Unix(1e9, 0)
	a := netip.MustParseAddr("10.77.0.140")
	if _, ok := o.holder(a, now); ok {
		t.Error("it knows somebody")
	}
	o.seen(a, roles.MAC{1}, now)
	o.seen(a, roles.MAC{2}, now)
	if m, ok := o.holder(a, now.Add(othersTime)); !ok || m != (roles.MAC{2}) {
		t.Errorf("holder %s, %v", m, ok)
	}
	if m, ok := o.holder(a, now.Add(othersTime+1)); ok {
		t.Errorf("after %s it is still %s's", othersTime, m)
	}
	for i := range uint32(maxOthers + 9) {
		b := binary.BigEndian.AppendUint32(nil, 0x0a000000+i)
		x, _ := netip.AddrFromSlice(b)
		o.seen(x, roles.MAC{3}, now)
	}
	if len(o.byAddr) != maxOthers {
		t.Errorf("%d are remembered, want at most %d", len(o.byAddr), maxOthers)
	}
	last := netip.MustParseAddr("10.99.0.1")
	if o.seen(last, roles.MAC{4}, now.Add(othersTime+1)); len(o.byAddr) != 1 {
		t.Errorf("%d are remembered after %s", len(o.byAddr), othersTime)
	}
}

// TestSeesBesideDHCP: what proxyDHCP sees of a boot is its timeline, and whose a download is.
func TestSeesBesideDHCP(t *testing.T) {
	s := hostedRack(t)
	s.Config = &config.Config{DHCPD: config.DHCPD{Mode: config.ModeProxy}}
	s.watch = new(dhcpd.Lookout)
	mac := macOf(t, "52:54:00:aa:00:01")
	a, other := netip.MustParseAddr("10.77.0.140"), netip.MustParseAddr("10.77.0.9")
	r := &dhcpd.Request{MAC: lease.MAC(mac), PXE: true, Archs: []uint16{7}, ServerID: other}
	now := time.Now()
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Discover, Time: now, Request: r})
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Offered, Time: now, Request: r, File: "snponly.efi"})
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Chosen, Time: now, Request: r, Addr: a, File: "snponly.efi"})
	if got, ok := s.holderOf(a); !ok || got != mac {
		t.Errorf("%s is %s's, %v", a, got, ok)
	}
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Directed, Time: now, Request: r, Addr: a, File: "snponly.efi"})
	record(t, s)
	b, err := s.registry.Boot(mac.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range b.Events {
		said = append(said, e.Message+e.Error)
	}
	want := []string{"UEFI firmware asks for an address", "UEFI firmware has 10.77.0.140 of the DHCP server 10.77.0.9, loads snponly.efi",
		"UEFI firmware has 10.77.0.140, loads snponly.efi"}
	if len(said) != len(want) {
		t.Fatalf("timeline %q, want %q", said, want)
	}
	for i := range want {
		if said[i] != want[i] {
			t.Errorf("event %d: %q, want %q", i, said[i], want[i])
		}
	}
}

func TestNoLeases(t *testing.T) {
	n := noLeases{(&config.DHCPD{Mode: config.ModeProxy}).Why()}
	const why = "dhcpd.mode is proxy: another DHCP server gives the addresses"
	if _, err := n.ReleaseLease(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) || err.Error() != "there is no lease to release: "+why+": file does not exist" {
		t.Error(err)
	}
	if _, err := n.ImportLeases(context.Background(), api.LeaseFile{}); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

// TestBootFilesThereAre: an architecture is told what there is, wherever it lies, and nothing else.
func TestBootFilesThereAre(t *testing.T) {
	s := &server{programs: layers{
		fstest.MapFS{"undionly.kpxe": {Data: []byte("x")}, "snponly.efi": {Data: []byte("x")}},
		fstest.MapFS{"snponly-arm64.efi": {Data: []byte("x")}, "bootcode.bin/x": {Data: []byte("x")}},
	}}
	var archs []uint16
	for _, b := range s.bootFiles() {
		archs = append(archs, b.Arch)
	}
	want := []uint16{0, 7, 9, 11, 16, 19, 22}
	if len(archs) != len(want) {
		t.Fatalf("architectures %v, want %v", archs, want)
	}
	for i := range want {
		if archs[i] != want[i] {
			t.Errorf("architectures %v, want %v", archs, want)
		}
	}
	if none := (&server{programs: layers{fstest.MapFS{}}}).bootFiles(); none == nil || len(none) > 0 {
		t.Errorf("without files: %v, and nil means all", none)
	}
}
