package serve

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd/lease"
	"muster/images"
	"muster/roles"
	"muster/tftpd"
)

// orderedRack is a rack with a web node that has a lease and an image to boot.
func orderedRack(t *testing.T) (*server, tftpd.Peer) {
	t.Helper()
	s := hostedRack(t)
	s.Config = &config.Config{HTTPBoot: config.HTTPBoot{Listen: ":8080"}}
	_, s.keys.images, _ = ed25519.GenerateKey(nil)
	s.programs = layers{fstest.MapFS{"snponly.efi": {Data: []byte("iPXE")}, "rpi/start4.elf": {Data: []byte("firmware")}}}
	for _, f := range []string{images.KernelFile, images.InitrdFile} {
		if err := os.WriteFile(filepath.Join(s.catalog.Dir, "web", "4", f), []byte("the "+f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	addr := netip.MustParseAddr("10.77.0.100")
	mac := macOf(t, webMAC)
	if err := s.store.CommitLeases(t.Context(), []lease.Lease{{MAC: lease.MAC(mac), Addr: addr, Expires: time.Now().Add(time.Hour)}}, nil); err != nil {
		t.Fatal(err)
	}
	change(t, s, func(tx roles.Tx) error {
		a := netip.MustParseAddr("10.77.0.20")
		return errors.Join(
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Addresses: roles.AddressRange{First: a, Last: a}}),
			tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: a, Node: mac}),
			tx.Nodes().Put(roles.Node{MAC: mac, Pool: "web", Slot: "web-01", State: roles.StateBooting}))
	})
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.recorder.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, tftpd.Peer{Remote: netip.AddrPortFrom(addr, 1069), Local: netip.MustParseAddr("10.77.0.1")}
}

// TestOrders: boot programs other than iPXE read by TFTP what the iPXE script would say, and load what it names.
func TestOrders(t *testing.T) {
	s, peer := orderedRack(t)
	of := s.tftpFiles()
	stranger := peer
	stranger.Remote = netip.MustParseAddrPort("10.77.0.101:1069")
	dashed := strings.ReplaceAll(webMAC, ":", "-")
	for _, c := range []struct {
		peer tftpd.Peer
		name string
		want []string // "" means that it is not there
	}{
		{peer, "snponly.efi", []string{"iPXE"}},
		{peer, "pxelinux.cfg/01-" + dashed, []string{"SAY Muster: boots web:4 as web-01\n", "KERNEL ::/images/web/4/vmlinuz\n", "muster.mac=" + webMAC}},
		{peer, "grub/grub.cfg-01-" + dashed, []string{"linux '/images/web/4/vmlinuz' ", "'muster.server=http://10.77.0.1:8080'"}},
		{peer, "0a1b2c3d/cmdline.txt", []string{"console=", "muster.token="}},
		{peer, "0a1b2c3d/config.txt", []string{"kernel=vmlinuz\n"}},
		{peer, "0a1b2c3d/vmlinuz", []string{"the vmlinuz"}},
		{peer, "0a1b2c3d/initrd.img", []string{"the initrd.img"}},
		{peer, "0a1b2c3d/start4.elf", []string{"firmware"}},
		{peer, "images/web/4/vmlinuz", []string{"the vmlinuz"}},
		{peer, "images/web/4/image.json", nil},
		{peer, "images/web/9/vmlinuz", nil},
		{peer, "images/web/4/../4/vmlinuz", nil},
		{peer, "pxelinux.cfg/01-52-54-00-aa-00-99", nil},
		{peer, "pxelinux.cfg/default", nil},
		{stranger, "pxelinux.cfg/01-" + dashed, nil},
		{stranger, "0a1b2c3d/cmdline.txt", nil},
	} {
		fsys, err := of(t.Context(), c.peer)
		if err != nil {
			t.Fatal(err)
		}
		b, err := fs.ReadFile(fsys, c.name)
		if c.want == nil && err == nil {
			t.Errorf("%s of %s: there is %q", c.name, c.peer.Remote, b)
		}
		for _, want := range c.want {
			if err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s: %q, %v; want %q in it", c.name, b, err, want)
			}
		}
	}
	b, err := s.registry.Boots(webMAC)
	if err != nil || len(b) != 1 {
		t.Errorf("%d boots, %v; want that all of it belongs to one", len(b), err)
	}
}

// TestOrdersWait: a machine that nobody has decided on is told to ask again.
func TestOrdersWait(t *testing.T) {
	s, peer := orderedRack(t)
	for _, v := range []string{"1", "2", "3", "4"} {
		if err := os.RemoveAll(filepath.Join(s.catalog.Dir, "web", v)); err != nil {
			t.Fatal(err)
		}
	}
	fsys, err := s.tftpFiles()(t.Context(), peer)
	if err != nil {
		t.Fatal(err)
	}
	name := "grub/grub.cfg-01-" + strings.ReplaceAll(webMAC, ":", "-")
	b, err := fs.ReadFile(fsys, name)
	if err != nil || !strings.Contains(string(b), "configfile '/"+name+"'") {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := fs.ReadFile(fsys, "0a1b2c3d/cmdline.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a Raspberry Pi reads %q, %v", b, err)
	}
}

// TestTFTPSightings: what becomes of a transfer in a machine's timeline.
func TestTFTPSightings(t *testing.T) {
	for _, c := range []struct {
		transfer tftpd.Transfer
		step     roles.Step
		message  string
		fault    string
		ok       bool
	}{
		{tftpd.Transfer{File: "snponly.efi", Bytes: 2048, Duration: 3 * time.Millisecond}, roles.StepNBP, "snponly.efi by TFTP, 2 KiB in 3ms", "", true},
		{tftpd.Transfer{File: "images/web/4/vmlinuz", Retransmissions: 2}, roles.StepKernel, "images/web/4/vmlinuz by TFTP, 0 KiB in 0s, 2 packets sent again", "", true},
		{tftpd.Transfer{File: "0a1b2c3d/initrd.img", Bytes: 1, Err: tftpd.ErrTimeout}, roles.StepInitrd, "", "0a1b2c3d/initrd.img by TFTP, 1 KiB in 0s: the client does not answer", true},
		{tftpd.Transfer{File: "none.efi", Err: fs.ErrNotExist}, roles.StepNBP, "none.efi is asked for by TFTP, and not there", "", true},
		{tftpd.Transfer{File: "snponly.efi", Err: tftpd.ErrAborted}, "", "", "", false},
	} {
		got, ok := tftpSighting(c.transfer)
		if ok != c.ok || ok && (got.Step != c.step || got.Message != c.message || got.Error != c.fault) {
			t.Errorf("%+v: %+v, %v", c.transfer, got, ok)
		}
	}
}

// TestQuirksOfMAC: the first rule that fits a machine's address counts.
func TestQuirksOfMAC(t *testing.T) {
	s, peer := orderedRack(t)
	s.Config.TFTPD.Quirks = []config.TFTPQuirk{{MAC: "00:a0:b0", Window: 4}, {MAC: webMAC[:8], Window: 1, Blksize: 1024, Rollover: 1}, {MAC: webMAC}}
	if got, want := s.quirks(peer, "f"), (tftpd.Quirks{MaxBlksize: 1024, MaxWindow: 1, Rollover: 1}); got != want {
		t.Errorf("quirks %+v, want %+v", got, want)
	}
	peer.Remote = netip.MustParseAddrPort("10.77.0.101:1069")
	if got := s.quirks(peer, "f"); got != (tftpd.Quirks{}) {
		t.Errorf("quirks %+v of a machine without a lease", got)
	}
}
