package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/dhcpd/leasefile"
	"muster/roles"
)

// newLeases are those of a network with one host.
func (w *world) newLeases() *serve.Leases {
	return &serve.Leases{Store: w.store, Now: w.clock, Subnets: []config.Subnet{{
		Subnet: netip.MustParsePrefix("10.77.0.0/24"),
		Range:  roles.AddressRange{First: netip.MustParseAddr("10.77.0.100"), Last: netip.MustParseAddr("10.77.0.199")},
		Hosts:  []config.Host{{MAC: roles.MAC{0x52, 0x54, 0, 0xcc, 0, 1}, Address: netip.MustParseAddr("10.77.0.150"), Hostname: "printer"}},
	}}}
}

// lend gives an address: ADDRESS MAC DURATION [NAME].
func (w *world) lend(args []string) error {
	args = append(args, "")
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	until := w.clock().Add(d)
	if args[1] == "declined" {
		return w.store.CommitLeases(context.Background(), []lease.Lease{leasefile.Quarantine(addr, until)}, nil)
	}
	mac, err := roles.ParseMAC(args[1])
	if err != nil {
		return err
	}
	return w.store.CommitLeases(context.Background(), []lease.Lease{{MAC: lease.MAC(mac), Addr: addr, Expires: until, Hostname: args[3]}}, nil)
}

// talk has a machine say what firmware says, as soon as somebody watches, and a neighbour answer late.
func (w *world) talk(mac string) error {
	m, err := roles.ParseMAC(mac)
	if err != nil {
		return err
	}
	us, all, none := netip.MustParseAddrPort("10.77.0.1:67"), netip.MustParseAddrPort("255.255.255.255:67"), netip.MustParseAddrPort("0.0.0.0:68")
	address, server := net.IP{10, 77, 0, 100}, net.IP{10, 77, 0, 1}
	client := []dhcpv4.Modifier{dhcpv4.WithHwAddr(m[:]), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})}
	firmware := append(client[:2:2], dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007")), dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64)))
	reply := append(client[:2:2], func(p *dhcpv4.DHCPv4) { p.OpCode, p.BootFileName = dhcpv4.OpcodeBootReply, "snponly.efi" },
		dhcpv4.WithYourIP(address), dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)))
	var packets []dhcpd.Packet
	say := func(p dhcpd.Packet, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) error {
		msg, err := dhcpv4.New(append(mods, dhcpv4.WithMessageType(kind))...)
		if err == nil {
			p.Interface, p.Data = "eth1", msg.ToBytes()
			packets = append(packets, p)
		}
		return err
	}
	in := dhcpd.Packet{MAC: lease.MAC(m), In: true, From: none, To: all}
	out := dhcpd.Packet{MAC: lease.MAC(m), From: us, To: netip.MustParseAddrPort("10.77.0.100:68")}
	other, lost := in, in
	other.MAC, lost.Drop = lease.MAC{0x52, 0x54, 0, 0xee, 0, 1}, "other-server"
	ask := append(firmware[:4:4], dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(address)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)))
	elsewhere := append(firmware[:4:4], dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(address)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 9})))
	for _, err := range []error{
		say(in, dhcpv4.MessageTypeDiscover, firmware...), say(other, dhcpv4.MessageTypeDiscover), say(out, dhcpv4.MessageTypeOffer, reply...),
		say(lost, dhcpv4.MessageTypeRequest, elsewhere...), say(in, dhcpv4.MessageTypeRequest, ask...), say(out, dhcpv4.MessageTypeAck, reply...),
	} {
		if err != nil {
			return fmt.Errorf("packet: %w", err)
		}
	}
	for deadline := time.Now().Add(time.Minute); w.packets.Watching() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("the watch before this one does not end")
		}
	}
	// It ends with the packets, or with the world.
	ctx, cancel := context.WithCancel(context.Background())
	before := w.stop
	w.stop = func() { cancel(); before() }
	go func() {
		for w.packets.Watching() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		for _, p := range packets {
			w.packets.Tap(p)
		}
	}()
	return nil
}
