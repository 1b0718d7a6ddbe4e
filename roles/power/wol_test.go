package power

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// receiver is a socket on loopback that magic packets are sent to.
func receiver(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// wantMagic reads a whole set of magic packets for mac.
func wantMagic(t *testing.T, c *net.UDPConn, mac string) {
	t.Helper()
	m, err := roles.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat(m[:], 16)...)
	p := make([]byte, 1500)
	for range wolRepeat {
		n, err := c.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p[:n], want) {
			t.Errorf("got % x, want % x", p[:n], want)
		}
	}
}

func TestWOLOn(t *testing.T) {
	a, addrA := receiver(t)
	b, addrB := receiver(t)
	w := &WOL{Broadcast: []netip.AddrPort{addrA, addrB}}
	for _, mac := range []string{"52:54:00:aa:00:01", "52-54-00-AA-00-02", "5254.00aa.0003"} {
		if err := w.On(t.Context(), mac); err != nil {
			t.Fatal(err)
		}
		wantMagic(t, a, mac)
		wantMagic(t, b, mac)
	}
	// A target with an address of its own goes there, and nowhere else.
	if err := w.On(t.Context(), fmt.Sprintf("%s@%s", macB, addrB)); err != nil {
		t.Fatal(err)
	}
	wantMagic(t, b, macB)
	if err := w.On(t.Context(), macC); err != nil {
		t.Fatal(err)
	}
	wantMagic(t, a, macC) // what came before it would be macB's
}

// TestWOLTarget: where packets go by default.
func TestWOLTarget(t *testing.T) {
	for target, want := range map[string]string{
		macA:                     "255.255.255.255:9",
		macA + "@10.77.1.255":    "10.77.1.255:9",
		macA + "@10.77.1.255:7":  "10.77.1.255:7",
		macA + "@[ff02::1%lo]:9": "[ff02::1%lo]:9",
	} {
		_, to, err := (&WOL{}).parse(target)
		if err != nil || len(to) != 1 || to[0].String() != want {
			t.Errorf("%s: %v, %v, want %s", target, to, err, want)
		}
	}
}

// TestWOLPartly: one way that works is enough; none is an error.
func TestWOLPartly(t *testing.T) {
	c, addr := receiver(t)
	nowhere := netip.MustParseAddrPort("[fe80::1%nosuchlink]:9")
	if err := (&WOL{Broadcast: []netip.AddrPort{nowhere, addr}}).On(t.Context(), macA); err != nil {
		t.Errorf("On with one good way = %v", err)
	}
	wantMagic(t, c, macA)
	if err := (&WOL{Broadcast: []netip.AddrPort{nowhere}}).On(t.Context(), macA); err == nil {
		t.Error("On without a good way succeeds")
	}
}

func TestWOLInvalid(t *testing.T) {
	w := &WOL{}
	_, statusErr := w.Status(t.Context(), macA)
	for name, err := range map[string]error{
		"Off":          w.Off(t.Context(), macA),
		"Status":       statusErr,
		"no target":    w.On(t.Context(), ""),
		"no MAC":       w.On(t.Context(), "web-01"),
		"no address":   w.On(t.Context(), macA+"@nowhere"),
		"infiniband":   w.On(t.Context(), "00:00:00:00:fe:80:00:00"),
		"empty suffix": w.On(t.Context(), macA+"@"),
	} {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want an error that wraps fs.ErrInvalid", name, err)
		}
	}
	if !strings.Contains(statusErr.Error(), "cannot") {
		t.Errorf("Status: %v", statusErr)
	}
}
