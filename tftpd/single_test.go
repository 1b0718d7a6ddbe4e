package tftpd

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pin/tftp/v3"
)

// TestSinglePort: every packet comes from the address and port that were asked, over both families, in windows as well.
func TestSinglePort(t *testing.T) {
	for _, c := range []struct{ listen, client, server string }{
		{"0.0.0.0:0", "127.0.0.1", "127.0.0.2"},
		{"[::]:0", "127.0.0.1", "127.0.0.2"},
		{"[::]:0", "::1", "::1"},
	} {
		conn, err := Listen(c.listen)
		if err != nil {
			t.Fatal(err)
		}
		conn.SinglePort = true
		addr, ended := startOn(t, one(30*512+5), conn)
		asked := netip.AddrPortFrom(netip.MustParseAddr(c.server), addr.Port())
		cl := rawUDP(t, netip.AddrPortFrom(netip.MustParseAddr(c.client), 0).String())
		got, from := ask(t, cl, asked, rrq(option{"windowsize", "8"}))
		block := 0
		for want := "OACK windowsize=8"; ; {
			if got != want || from != asked {
				t.Fatalf("%q from %s, want %q from %s", got, from, want, asked)
			}
			if block == 31 {
				break
			}
			if block%8 == 0 {
				if _, err := cl.WriteToUDPAddrPort([]byte{0, opAck, 0, byte(block)}, from); err != nil {
					t.Fatal(err)
				}
			}
			block++
			want = fmt.Sprintf("DATA %d 512", block)
			if block == 31 {
				want = "DATA 31 5"
			}
			got, from = next(t, cl)
		}
		if _, err := cl.WriteToUDPAddrPort([]byte{0, opAck, 0, 31}, from); err != nil {
			t.Fatal(err)
		}
		if tr := ended.next(t); tr.Err != nil || tr.Retransmissions != 0 {
			t.Errorf("observed %+v", tr)
		}
	}
}

// TestSinglePortClients: real clients, many of them at once.
func TestSinglePortClients(t *testing.T) {
	conn, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.SinglePort = true
	want := content(300_000)
	addr, _ := startOn(t, one(300_000), conn)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			got, err := pinFetch(addr, func(*tftp.Client) {})
			if err != nil {
				t.Error(err)
				return
			}
			equal(t, got, want)
		})
	}
	wg.Wait()
	out := filepath.Join(t.TempDir(), "out")
	run(t, "atftp", "--option", "windowsize 16", "-g", "-r", "f", "-l", out, "127.0.0.1", fmt.Sprint(addr.Port()))
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}
