package dhcpd

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const systemUUID = "11223344-5566-7788-99aa-bbccddeeff01"

// TestFirmware boots real firmware in QEMU: what the server tells it must make it load the right thing.
func TestFirmware(t *testing.T) {
	if testing.Short() {
		t.Skip("needs time: firmware takes a minute without KVM")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the firmware is x86")
	}
	const ovmf = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	if _, err := os.Stat(ovmf); err != nil {
		t.Skip("needs ovmf: " + err.Error())
	}
	if !inNamespace(t, "qemu-system-x86_64") {
		return
	}
	run(t, "ip", "tuntap", "add", "srv1", "mode", "tap")
	run(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "srv1")
	run(t, "ip", "link", "set", "srv1", "up")
	loads := bootServices(t)
	s := serve(t, "srv1")
	s.Server.FileURL = func(r *Request, file string) string { return fmt.Sprintf("http://%s:8080/boot/%s", r.Server, file) }
	s.Server.ScriptURL = func(r *Request) string { return fmt.Sprintf("http://%s:8080/ipxe?mac=%s", r.Server, r.MAC) }

	t.Run("BIOS", func(t *testing.T) {
		stop := qemu(t, 1, "")
		defer stop()
		e := s.wait(Acked)
		if r := e.Request; !r.IPXE || r.Arch() != 0 || r.UUID != systemUUID || r.MAC != mac(1) {
			t.Errorf("request %+v", r)
		}
		await(t, loads, "GET /ipxe52:54:00:00:00:01")
	})
	t.Run("UEFI", func(t *testing.T) {
		stop := qemu(t, 2, ",romfile=", "-drive", "if=pflash,format=raw,readonly=on,file="+ovmf)
		defer stop()
		e := s.wait(Acked)
		if r := e.Request; !r.PXE || r.Arch() != 7 || r.UUID != systemUUID || r.MAC != mac(2) {
			t.Errorf("request %+v", r)
		}
		await(t, loads, "RRQ snponly.efi")
		// TFTP refused it; HTTP boot is what OVMF tries next.
		for e.Request.PXE {
			e = s.wait(Acked)
		}
		if r := e.Request; !r.HTTP || r.Arch() != 16 || r.UUID != systemUUID {
			t.Errorf("HTTP boot: request %+v", r)
		}
		await(t, loads, "HEAD /boot/snponly.efi")
	})
}

// qemu starts a machine without disks whose NIC has mac(n), and nic as its further properties: without the
// ROM file of iPXE, UEFI boots with its own network stack.
func qemu(t *testing.T, n int, nic string, args ...string) (stop func()) {
	t.Helper()
	console := filepath.Join(t.TempDir(), "console")
	m := &machine{T: t, pid: os.Getpid()}
	_, stop = m.start(append([]string{"qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-display", "none", "-nodefaults",
		"-uuid", systemUUID, "-serial", "file:" + console, "-netdev", "tap,id=n,ifname=srv1,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=n,mac=" + mac(n).String() + nic}, args...)...)
	t.Cleanup(func() {
		if b, _ := os.ReadFile(console); t.Failed() {
			t.Logf("console:\n%s", b)
		}
	})
	return stop
}

// bootServices notes what firmware asks for on TFTP and HTTP, and refuses it.
func bootServices(t *testing.T) <-chan string {
	t.Helper()
	loads := make(chan string, 100)
	tftp, err := net.ListenPacket("udp4", "10.77.0.1:69")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tftp.Close() })
	go func() { // ends when the socket is closed
		buf := make([]byte, 600)
		for {
			n, from, err := tftp.ReadFrom(buf)
			if err != nil {
				return
			}
			if name, _, ok := bytes.Cut(buf[2:n], []byte{0}); ok {
				loads <- "RRQ " + string(name)
				_, _ = tftp.WriteTo([]byte("\x00\x05\x00\x01no\x00"), from)
			}
		}
	}()
	l, err := net.Listen("tcp4", "10.77.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		loads <- r.Method + " " + r.URL.Path + r.FormValue("mac")
		http.NotFound(w, r)
	})}
	go web.Serve(l) // ends when the server is closed
	t.Cleanup(func() { web.Close() })
	return loads
}

func await(t *testing.T, loads <-chan string, want string) {
	t.Helper()
	var seen []string
	for deadline := time.After(3 * time.Minute); ; {
		select {
		case got := <-loads:
			if seen = append(seen, got); got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the firmware did not ask for %q, but: %s", want, strings.Join(seen, ", "))
		}
	}
}
