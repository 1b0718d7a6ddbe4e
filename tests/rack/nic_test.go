package rack

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

// The script names the chip that iPXE drives: it is the card that was asked for.
const chipScript = `#!ipxe
echo I boot ${net0/mac} on ${net0/chip}.
sleep 3600
`

// TestNetworkCards boots from every card that is not virtio (TestBoot has that).
func TestNetworkCards(t *testing.T) {
	needsRack(t, "dnsmasq")
	t.Parallel() // most of the time firmware waits
	r := newRack(t, Options{})
	startDnsmasq(t, r, chipScript)
	for _, tt := range []struct {
		firmware Firmware
		nic      NIC
		chip     string
	}{
		{BIOS, E1000E, "82574l"},
		{BIOS, E1000, "82540em"},
		{BIOS, VMXNet3, "vmxnet3"},
		{BIOS, RTL8139, "rtl8139"},
		{UEFI, E1000E, "82574l"},
	} {
		name := string(tt.firmware) + "-" + string(tt.nic)
		m, err := r.Add(MachineSpec{Name: name, Firmware: tt.firmware, NIC: tt.nic})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bootWait)
			defer cancel()
			if err := m.On(); err != nil {
				t.Fatal(err)
			}
			defer m.Off()
			got, err := m.WaitConsole(ctx, regexp.MustCompile("I boot "+m.MAC().String()+` on .*\.`))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(got, " on "+tt.chip+".") {
				t.Errorf("%q, want chip %s", got, tt.chip)
			}
		})
	}
}
