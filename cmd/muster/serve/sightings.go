package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"time"

	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/httpboot"
	"muster/images"
	"muster/roles"
	"muster/tftpd"
)

// sawDHCP records a machine that boots. What operating systems ask is no part of a boot.
func (s *server) sawDHCP(e dhcpd.Event) {
	r := e.Request
	if e.Kind == dhcpd.Conflict && e.MAC != (lease.MAC{}) {
		s.seen(roles.Sighting{MAC: roles.MAC(e.MAC), Time: e.Time, Step: roles.StepLease,
			Error: fmt.Sprintf("another machine, %s, uses its address %s on %s", e.Other, e.Addr, e.Interface)})
		return
	}
	if r != nil && (e.Kind == dhcpd.Chosen || e.Reason == dhcpd.OtherServer) {
		s.watch.Heard(r.Interface, r.ServerID, r.MAC)
	}
	if r == nil || !r.Boots() || s.hosts.has(roles.MAC(r.MAC)) {
		return
	}
	s.firmware.spoke(r.MAC, e.Time)
	sight := roles.Sighting{MAC: roles.MAC(r.MAC), Time: e.Time, Boots: true, Facts: factsOf(r)}
	switch e.Kind {
	case dhcpd.Discover:
		sight.Step, sight.Message = roles.StepDiscover, program(r)+" asks for an address"
	case dhcpd.Acked:
		sight.Step, sight.Message = roles.StepLease, fmt.Sprintf("%s has %s, loads %s", program(r), e.Addr, e.File)
		sight.Facts.Address = e.Addr
	case dhcpd.Chosen:
		s.others.seen(e.Addr, sight.MAC, e.Time)
		sight.Step, sight.Message = roles.StepLease, fmt.Sprintf("%s has %s of the DHCP server %s, loads %s", program(r), e.Addr, r.ServerID, e.File)
		sight.Facts.Address = e.Addr
	case dhcpd.Directed:
		if !e.Addr.IsValid() {
			return // of the machine nothing is known that a line would tell
		}
		if !s.Config.DHCPD.Addresses() {
			s.others.seen(e.Addr, sight.MAC, e.Time)
		}
		sight.Step, sight.Message = roles.StepLease, fmt.Sprintf("%s has %s, loads %s", program(r), e.Addr, e.File)
		sight.Facts.Address = e.Addr
	case dhcpd.Refused, dhcpd.Silent:
		if e.Reason == dhcpd.Probing {
			return // it asks again, and gets one
		}
		sight.Step, sight.Error = roles.StepLease, fmt.Sprintf("%s got no lease: %s", program(r), e.Reason)
	case dhcpd.Declined:
		sight.Step, sight.Error = roles.StepLease, fmt.Sprintf("%s found %s in use by another machine", program(r), e.Addr)
	default:
		return
	}
	s.seen(sight)
}

// program names what speaks DHCP.
func program(r *dhcpd.Request) string {
	switch {
	case r.IPXE:
		return "iPXE"
	case r.HTTP:
		return "UEFI HTTP boot"
	case r.Arch() == 0:
		return "BIOS firmware"
	}
	return "UEFI firmware"
}

func factsOf(r *dhcpd.Request) roles.Facts {
	f := roles.Facts{UUID: r.UUID, Circuit: r.Circuit, Remote: r.Remote}
	// IANA's processor architectures. 0 is any x86 with a BIOS: whether it is 64-bit, iPXE tells.
	switch r.Arch() {
	case 0:
		f.Firmware = "bios"
	case 6, 15:
		f.Firmware, f.Arch = "uefi", "i386"
	case 7, 9, 16:
		f.Firmware, f.Arch = "uefi", "x86_64"
	case 11, 19:
		f.Firmware, f.Arch = "uefi", "arm64"
	}
	return f
}

// sawTFTP records what a machine loaded by TFTP, or could not.
func (s *server) sawTFTP(t tftpd.Transfer) {
	mac, ok := s.holderOf(t.Remote.Addr())
	if !ok {
		return
	}
	sight, ok := tftpSighting(t)
	if !ok {
		return
	}
	sight.MAC, sight.Time = mac, time.Now()
	if sight.Step == roles.StepInitrd && sight.Error == "" {
		s.firmware.left(lease.MAC(mac))
	}
	s.seen(sight)
}

// tftpSighting is a transfer as an event, if it is one.
func tftpSighting(t tftpd.Transfer) (sight roles.Sighting, ok bool) {
	sight.Step = roles.StepNBP
	switch path.Base(t.File) {
	case images.KernelFile:
		sight.Step = roles.StepKernel
	case images.InitrdFile:
		sight.Step = roles.StepInitrd
	}
	text := fmt.Sprintf("%s by TFTP, %s in %s", t.File, bytesText(t.Bytes), t.Duration.Round(time.Millisecond))
	if t.Retransmissions > 0 {
		text += fmt.Sprintf(", %d packets sent again", t.Retransmissions)
	}
	switch {
	case t.Err == nil:
		sight.Message = text
	case errors.Is(t.Err, tftpd.ErrAborted), errors.Is(t.Err, tftpd.ErrSuperseded):
		return sight, false // firmware aborts on purpose, to learn a size
	case errors.Is(t.Err, fs.ErrNotExist):
		// Loaders look for files by many names.
		sight.Message = fmt.Sprintf("%s is asked for by TFTP, and not there", clip(t.File))
	default:
		sight.Error = clip(text + ": " + t.Err.Error())
	}
	return sight, true
}

// quirks are what muster.yaml says of a machine's firmware.
func (s *server) quirks(peer tftpd.Peer, _ string) (q tftpd.Quirks) {
	if len(s.Config.TFTPD.Quirks) == 0 {
		return q
	}
	mac, ok := s.holderOf(peer.Remote.Addr())
	if !ok {
		return q
	}
	for _, c := range s.Config.TFTPD.Quirks {
		if strings.HasPrefix(mac.String(), c.MAC) {
			return tftpd.Quirks{MaxBlksize: c.Blksize, MaxWindow: c.Window, Rollover: uint16(c.Rollover)}
		}
	}
	return q
}

func (s *server) sawNBP(from netip.Addr, message string) {
	if mac, ok := s.holderOf(from); ok {
		s.seen(roles.Sighting{MAC: mac, Time: time.Now(), Step: roles.StepNBP, Message: message})
	}
}

// sawHTTP records the download of a boot file.
func (s *server) sawHTTP(_ context.Context, f httpboot.Fetch) {
	text := fmt.Sprintf("%s by HTTP, %s in %s", f.File, bytesText(f.Bytes), f.Took.Round(time.Millisecond))
	switch f.Area {
	case "nbp":
		if f.Complete {
			s.sawNBP(f.Remote, text)
		}
	case "images":
		mac, err := roles.ParseMAC(f.MAC)
		if err != nil {
			return
		}
		sight := roles.Sighting{MAC: mac, Time: time.Now(), Step: roles.StepKernel, Message: text}
		switch path.Base(f.File) {
		case images.InitrdFile:
			sight.Step = roles.StepInitrd
			s.firmware.left(lease.MAC(mac))
		case images.SquashfsFile:
			sight.Step = roles.StepRoot
		case images.SealFile:
			return
		}
		if !f.Complete {
			sight.Message, sight.Error = "", text+fmt.Sprintf(", of %s: the machine hung up", bytesText(f.Size))
		}
		s.seen(sight)
	}
}

func bytesText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
