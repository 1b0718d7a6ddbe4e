package dhcpd

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestDetect finds a real DHCP server, and a real proxyDHCP server, but not the one on the same machine.
func TestDetect(t *testing.T) {
	if !inNamespace(t, "dnsmasq") {
		return
	}
	m := newMachine(t, "srv1", "10.77.0.1/24")
	m.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	s := serve(t, "srv1")
	for _, tt := range []struct {
		name string
		args []string
		want Offer
	}{
		{"server", []string{"--dhcp-range=10.77.0.50,10.77.0.50", "--dhcp-boot=other.efi,,10.77.0.8"},
			Offer{Server: ip("10.77.0.9"), Address: ip("10.77.0.50"), BootFile: "other.efi", NextServer: ip("10.77.0.8")}},
		{"proxy", []string{"--dhcp-range=10.77.0.0,proxy", "--pxe-service=7,boot,proxy.efi"},
			Offer{Server: ip("10.77.0.9"), NextServer: ip("10.77.0.9")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stop := m.start(append([]string{"dnsmasq", "-d", "-C", "/dev/null", "--port=0", "--no-ping", "--user=root", "--pid-file",
				"--interface=eth0", "--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases"), "--log-dhcp"}, tt.args...)...)
			defer stop()
			var got []Offer
			for deadline := time.Now().Add(patience); len(got) == 0 && time.Now().Before(deadline); {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				var err error
				if got, err = Detect(ctx, "srv1"); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			if len(got) != 1 || got[0] != tt.want {
				t.Errorf("found %+v, want %+v", got, tt.want)
			}
			l := new(Lookout)
			for deadline := time.Now().Add(patience); len(l.Others()) == 0 && time.Now().Before(deadline); {
				l.lookAll(t.Context(), []string{"srv1"})
			}
			if o := l.Others(); len(o) != 1 || o[0].Offer != tt.want || o[0].Interface != "srv1" {
				t.Errorf("the lookout found %+v, want %+v", o, tt.want)
			}
		})
	}
	s.stop()
	select {
	case e := <-s.events:
		t.Errorf("the server on the same machine was asked: %+v", e)
	default:
	}
}

func TestDetectErrors(t *testing.T) {
	if _, err := Detect(context.Background(), "lo"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without a deadline: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := Detect(ctx, "nosuch0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing interface: %v", err)
	}
}

func TestReadOffer(t *testing.T) {
	reply := message(mac(1), dhcpv4.MessageTypeOffer, chose(server), dhcpv4.WithYourIP(ip("10.77.0.50").AsSlice()))
	reply.OpCode = dhcpv4.OpcodeBootReply
	wrap := func(port uint16) []byte {
		return ipPacket(outgoing{data: encode(reply), from: server, to: netip.AddrPortFrom(limitedBroadcast, port)}, serverPort)
	}
	good := wrap(clientPort)
	if o, ok := readOffer(good, reply.TransactionID); !ok || o.Server != server || o.Address != ip("10.77.0.50") {
		t.Errorf("offer %+v, %v", o, ok)
	}
	for name, b := range map[string][]byte{"empty": nil, "short": good[:27], "cut": good[:200], "other port": wrap(69),
		"long header": append([]byte{0x4f}, good[1:40]...), "short header": append([]byte{0x41}, good[1:]...)} {
		if o, ok := readOffer(b, reply.TransactionID); ok {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if _, ok := readOffer(good, dhcpv4.TransactionID{9}); ok {
		t.Error("the answer to somebody else counts")
	}
}
