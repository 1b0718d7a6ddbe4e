package dhcpd

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netns"

	"muster/dhcpd/lease"
)

// TestStormOverRelay: 300 new machines at once behind a relay, over real sockets.
func TestStormOverRelay(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := newMachine(t, "srv1", "10.77.0.1/24")
	m.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	m.run("ip", "addr", "add", "10.78.0.1/32", "dev", "lo")
	run(t, "ip", "route", "add", "10.78.0.0/16", "via", "10.77.0.9")
	remoteNet.Prefix = netip.MustParsePrefix("10.78.0.0/16")
	remoteNet.Range.Last = ip("10.78.9.255")
	s := serve(t, "srv1")
	relay := m.listen("10.78.0.1:67")

	const machines = 300
	acked := map[lease.MAC]netip.Addr{}
	holder := map[netip.Addr]lease.MAC{}
	send := func(p *dhcpv4.DHCPv4) {
		if _, err := relay.WriteTo(p.ToBytes(), &net.UDPAddr{IP: server.AsSlice(), Port: serverPort}); err != nil {
			t.Fatal(err)
		}
	}
	gi := relayedBy(ip("10.78.0.1"))
	buf := make([]byte, packetSize)
	for end := time.Now().Add(patience); len(acked) < machines; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d machines have an address", len(acked), machines)
		}
		for i := range machines {
			if _, ok := acked[mac(i)]; !ok {
				send(discover(mac(i), gi))
			}
		}
		for { // until nothing comes for a second: then what was lost is sent again
			_ = relay.SetReadDeadline(time.Now().Add(time.Second))
			n, _, err := relay.ReadFrom(buf)
			if err != nil {
				break
			}
			p, err := dhcpv4.FromBytes(buf[:n])
			if err != nil {
				t.Fatal(err)
			}
			m, a := lease.MAC(p.ClientHWAddr), addr(p.YourIPAddr)
			if p.MessageType() == dhcpv4.MessageTypeOffer {
				send(selecting(m, a, gi))
				continue
			}
			if other, ok := holder[a]; p.MessageType() != dhcpv4.MessageTypeAck || ok && other != m {
				t.Fatalf("%s of %s for %s, which %s has", p.MessageType(), a, m, other)
			}
			acked[m], holder[a] = a, m
			if len(acked) == machines {
				break
			}
		}
	}
	if len(holder) != machines || s.Leases.Len() != machines {
		t.Errorf("%d addresses, %d leases, want %d", len(holder), s.Leases.Len(), machines)
	}
}

// listen opens a UDP socket in the machine's namespace; it stays there.
func (m *machine) listen(at string) net.PacketConn {
	m.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		m.Fatal(err)
	}
	defer here.Close()
	there, err := netns.GetFromPid(m.pid)
	if err != nil {
		m.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		m.Fatal(err)
	}
	c, err := net.ListenPacket("udp4", at)
	if back := netns.Set(here); back != nil {
		os.Exit(3) // this thread is in the wrong namespace for good
	}
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { c.Close() })
	return c
}

// TestInterfaceComesAndGoes: a server survives its interface going down, and answers when it is back.
func TestInterfaceComesAndGoes(t *testing.T) {
	if !inNamespace(t, "busybox") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	s := serve(t, "srv1")
	run(t, "ip", "link", "set", "srv1", "down")
	run(t, "ip", "link", "set", "srv1", "up")
	c.udhcpc()
	if e := s.wait(Acked); e.Request.MAC != c.mac {
		t.Errorf("%+v", e)
	}
}

func TestIPPacket(t *testing.T) {
	for _, data := range [][]byte{{1, 2, 3, 4}, {1, 2, 3}, {}} {
		b := ipPacket(outgoing{data: data, from: server, to: netip.MustParseAddrPort("10.77.0.100:68")}, serverPort)
		// RFC 1071: the sum over what a checksum covers, itself included, is all ones.
		if s := sum(0, b[:20]); s != 0xffff {
			t.Errorf("IP header sums to %#x", s)
		}
		pseudo := append(append([]byte{}, b[12:20]...), 0, 17, b[24], b[25])
		if s := sum(uint32(sum(0, pseudo)), b[20:]); s != 0xffff {
			t.Errorf("UDP sums to %#x", s)
		}
		if n := len(b); n != 28+len(data) || int(b[2])<<8|int(b[3]) != n || b[20] != 0 || b[21] != 67 || b[23] != 68 {
			t.Errorf("packet % x", b)
		}
	}
}

// TestAbsentMachines: replies to addresses that nobody answers ARP for, as made-up ones in INFORM, wait in the kernel for
// seconds, and hold up no others.
func TestAbsentMachines(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	newMachine(t, "srv1", "10.77.0.1/24")
	c, err := open("srv1", serverPort)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	reply := func(to netip.Addr) outgoing {
		return outgoing{data: make([]byte, bootpSize), from: server, to: netip.AddrPortFrom(to, clientPort)}
	}
	a := ip("10.77.0.10")
	for range 8 {
		out := []outgoing{reply(limitedBroadcast)}
		for range 100 {
			out = append(out, reply(a))
			if a = a.Next(); a == ip("10.77.0.210") {
				a = ip("10.77.0.10")
			}
		}
		for i, err := range c.send(out) {
			if err != nil {
				t.Fatalf("to %s: %v", out[i].to, err)
			}
		}
	}
}
