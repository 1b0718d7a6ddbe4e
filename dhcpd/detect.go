package dhcpd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// DetectorClass is the user class (option 77) of the requests that Detect sends, by which another Muster
// server tells them from a machine's.
const DetectorClass = "muster-detect"

// Offer is what a DHCP or proxyDHCP server on the segment answers.
type Offer struct {
	// Server is how the server calls itself (option 54), or where its answer came from without one.
	Server netip.Addr
	// Address is what it would give; zero for a proxyDHCP server, which only says what to boot.
	Address netip.Addr
	// BootFile is what it would have a x64 UEFI machine boot, from NextServer; empty for nothing.
	BootFile   string
	NextServer netip.Addr
}

// detectEvery is how often Detect asks again, because packets get lost.
const detectEvery = time.Second

// Detect asks on an interface who answers DHCP there, as a machine that boots by PXE from a random, locally
// administered MAC, and collects the answers, one of each server, until ctx ends. It takes no lease. Servers
// of this same machine are not asked: the packets do not pass its own IP stack. It needs root and no address
// on the interface. A ctx without a deadline is an fs.ErrInvalid.
func Detect(ctx context.Context, iface string) ([]Offer, error) { return detect(ctx, iface, true) }

// detect is Detect. Servers that send to the MAC in spite of the broadcast flag are heard only if it is promiscuous.
func detect(ctx context.Context, iface string, promiscuous bool) ([]Offer, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, fmt.Errorf("dhcpd: detect: the context needs a deadline: %w", fs.ErrInvalid)
	}
	ifi, _, err := inspect(iface)
	if err != nil {
		return nil, err
	}
	filter, err := repliesOnly()
	if err != nil {
		return nil, fmt.Errorf("dhcpd: detect: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_IP, filter)
	if err != nil {
		return nil, explain(iface, clientPort, err)
	}
	defer conn.Close()
	if promiscuous {
		if err := conn.SetPromiscuous(true); err != nil {
			return nil, explain(iface, clientPort, err)
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()

	ask, xid := probe()
	var offers []Offer
	for next := time.Now(); time.Now().Before(deadline) && ctx.Err() == nil; {
		if now := time.Now(); !now.Before(next) {
			if _, err := conn.WriteTo(ask, &packet.Addr{HardwareAddr: net.HardwareAddr{255, 255, 255, 255, 255, 255}}); err != nil {
				return nil, fmt.Errorf("dhcpd: detect on %s: %w", iface, err)
			}
			next = now.Add(detectEvery)
		}
		if err := conn.SetReadDeadline(earlier(next, deadline)); err != nil {
			return nil, err
		}
		if offers, err = collect(conn, xid, offers); err != nil {
			return nil, fmt.Errorf("dhcpd: detect on %s: %w", iface, err)
		}
	}
	return offers, nil
}

// collect reads until the read deadline, and adds the servers that are new.
func collect(conn *packet.Conn, xid dhcpv4.TransactionID, offers []Offer) ([]Offer, error) {
	buf := make([]byte, packetSize)
	for {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return offers, nil
		}
		if err != nil {
			return offers, err
		}
		o, ok := readOffer(buf[:n], xid)
		for _, known := range offers {
			ok = ok && known.Server != o.Server
		}
		if ok {
			offers = append(offers, o)
		}
	}
}

// probe makes the IP packet of a DISCOVER.
func probe() ([]byte, dhcpv4.TransactionID) {
	var m lease.MAC
	rand.Read(m[:])
	m[0] = m[0]&^1 | 2 // locally administered, not a group
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: m[:],
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{
			dhcpv4.OptionDHCPMessageType.Code():                  {byte(dhcpv4.MessageTypeDiscover)},
			dhcpv4.OptionClassIdentifier.Code():                  []byte("PXEClient:Arch:00007:UNDI:003016"),
			dhcpv4.OptionClientSystemArchitectureType.Code():     {0, 7},
			dhcpv4.OptionClientNetworkInterfaceIdentifier.Code(): {1, 3, 16},
			dhcpv4.OptionUserClassInformation.Code():             []byte(DetectorClass),
			dhcpv4.OptionParameterRequestList.Code():             {1, 3, 6, 43, 54, 60, 66, 67},
		},
	}
	rand.Read(p.TransactionID[:])
	p.SetBroadcast()
	return ipPacket(outgoing{data: encode(p), from: netip.IPv4Unspecified(),
		to: netip.AddrPortFrom(limitedBroadcast, serverPort)}, clientPort), p.TransactionID
}

// readOffer reads an IP packet that may be an answer to the probe.
func readOffer(b []byte, xid dhcpv4.TransactionID) (Offer, bool) {
	const udp = 8
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
		return Offer{}, false
	}
	ip := int(b[0]&15) * 4
	if ip < 20 || len(b) < ip+udp || binary.BigEndian.Uint16(b[ip+2:]) != clientPort {
		return Offer{}, false
	}
	p, err := dhcpv4.FromBytes(b[ip+udp:])
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply || p.TransactionID != xid {
		return Offer{}, false
	}
	o := Offer{Server: addr(p.ServerIdentifier()), Address: addr(p.YourIPAddr), NextServer: addr(p.ServerIPAddr), BootFile: p.BootFileName}
	if !o.Server.IsValid() {
		o.Server = addr(b[12:16])
	}
	if o.BootFile == "" {
		o.BootFile = string(text(p.Options.Get(dhcpv4.OptionBootfileName)))
	}
	return o, true
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
