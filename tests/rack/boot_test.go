package rack

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The script tells what the machine is, so that the test sees that SMBIOS and network are as specified. The
// lines are short: a BIOS console breaks them at 80 columns.
const bootScript = `#!ipxe
echo I am ${uuid} ${serial}
echo hello from ${net0/mac} at ${net0/ip}
sleep 3600
`

// TestBoot boots each firmware from nothing: DHCP, boot program, script, and its words on the console.
func TestBoot(t *testing.T) {
	needsRack(t, "dnsmasq")
	t.Parallel() // most of the time firmware waits
	r := newRack(t, Options{})
	dnsmasq := startDnsmasq(t, r, bootScript,
		"--dhcp-match=set:uefi,option:client-arch,7", "--dhcp-boot=tag:!ipxe,tag:uefi,snponly.efi",
		"--dhcp-match=set:http,option:client-arch,16", "--dhcp-option-force=tag:http,60,HTTPClient",
		"--dhcp-boot=tag:!ipxe,tag:http,http://10.77.0.1:8080/snponly.efi")
	nbp, err := os.ReadFile(snponly)
	if err != nil {
		t.Fatal(err)
	}
	serveNBP(t, r, nbp)
	for _, firmware := range []Firmware{BIOS, UEFI, UEFIHTTP} {
		m, err := r.Add(MachineSpec{Name: string(firmware), Firmware: firmware, Serial: "A,1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(string(firmware), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bootWait)
			defer cancel()
			on := time.Now()
			if err := m.On(); err != nil {
				t.Fatal(err)
			}
			defer m.Off()
			want := "I am " + m.Spec().UUID + ` A,1\nhello from ` + m.MAC().String() + ` at 10\.77\.0\.1\d\d`
			if _, err := m.WaitConsole(ctx, regexp.MustCompile(want)); err != nil {
				t.Fatal(err)
			}
			t.Logf("DISCOVER after %.1f s", dnsmasq.first(t, "DHCPDISCOVER(br0) "+m.MAC().String()).Sub(on).Seconds())
			t.Logf("script after %.1f s, resident %s", time.Since(on).Seconds(), resident(t, m.PID()))
		})
	}
}

// TestRetry pulls the network cable until the firmware has given up: it tries again and finds its server.
func TestRetry(t *testing.T) {
	needsRack(t, "dnsmasq")
	t.Parallel() // most of the time firmware waits
	r := newRack(t, Options{})
	startDnsmasq(t, r, bootScript, "--dhcp-boot=tag:!ipxe,snponly.efi")
	for firmware, failed := range map[Firmware]string{BIOS: "No bootable device", UEFI: "UEFI Interactive Shell"} {
		m, err := r.Add(MachineSpec{Name: string(firmware), Firmware: firmware})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Cable(false); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("cable of a machine that is off: got error %v, want invalid", err)
		}
		t.Run(string(firmware), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bootWait)
			defer cancel()
			if err := errors.Join(m.On(), m.Cable(false)); err != nil {
				t.Fatal(err)
			}
			// WaitConsole would race with the reset, after which it looks at new output only.
			follow, stop := context.WithCancel(ctx)
			seen := &finder{text: failed, found: stop}
			if err := m.Follow(follow, seen); err != nil || !seen.done {
				t.Fatalf("%q was not printed, error %v", failed, err)
			}
			if err := m.Cable(true); err != nil {
				t.Fatal(err)
			}
			if _, err := m.WaitConsole(ctx, regexp.MustCompile("hello from "+m.MAC().String())); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// serveNBP serves a boot program over HTTP in the rack's network and checks that a client gets it there.
func serveNBP(t *testing.T, r *Rack, nbp []byte) {
	t.Helper()
	ln, err := r.Listen(t.Context(), "tcp", "10.77.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader(string(nbp)))
	})}
	go srv.Serve(ln) // until Close
	t.Cleanup(func() { srv.Close() })
	resp, err := r.HTTPClient().Get("http://10.77.0.1:8080/snponly.efi")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || len(got) != len(nbp) {
		t.Fatalf("fetched %d bytes, error %v; want %d", len(got), err, len(nbp))
	}
}

// resident is a process's resident memory.
func resident(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Error(err)
	}
	return regexp.MustCompile(`(?m)^VmRSS:\s*(.*)$`).FindStringSubmatch(string(status) + "\nVmRSS: ?")[1]
}
