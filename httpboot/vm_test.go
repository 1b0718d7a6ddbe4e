package httpboot

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// These tests boot a real machine: QEMU without a disk, its own firmware and iPXE, over QEMU's user
// network (10.0.2.0/24, the host is 10.0.2.2), so they need no root.

// vm is one QEMU. It is killed at the end of the test.
type vm struct {
	t       *testing.T
	console syncBuffer
	exited  chan struct{}
}

// syncBuffer is a bytes.Buffer for two goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// firmwares are how a machine comes to iPXE: SeaBIOS with iPXE in the NIC's ROM, and OVMF, which starts
// Debian's ipxe.efi from a stick.
func firmwares(t *testing.T) map[string][]string {
	t.Helper()
	needsTool(t, "qemu-system-x86_64")
	const ovmf, ipxe = "/usr/share/ovmf/OVMF.fd", "/usr/lib/ipxe/ipxe.efi"
	for _, file := range []string{ovmf, ipxe} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("needs %s: run make setup", file)
		}
	}
	b, err := os.ReadFile(ipxe)
	if err != nil {
		t.Fatal(err)
	}
	stick := t.TempDir()
	if err := os.MkdirAll(filepath.Join(stick, "EFI/BOOT"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stick, "EFI/BOOT/BOOTX64.EFI"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	nic := "virtio-net-pci,netdev=n0,mac=52:54:00:aa:00:01"
	return map[string][]string{
		"bios": {"-device", nic + ",bootindex=1"},
		"uefi": {"-device", nic, "-bios", ovmf, "-drive", "file=fat:" + stick + ",format=raw,if=none,id=stick,readonly=on",
			"-device", "virtio-blk-pci,drive=stick,bootindex=1"},
	}
}

// startVM powers on a machine that gets url as its boot file from DHCP.
func startVM(t *testing.T, url string, firmware []string) *vm {
	t.Helper()
	v := &vm{t: t, exited: make(chan struct{})}
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		"-machine", "q35,graphics=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-display", "none", "-monitor", "none",
		"-serial", "stdio", "-no-reboot",
		"-smbios", "type=1,manufacturer=ACME & Söhne,product=R2 ${nope},serial=S/N 4711 || x,uuid=3f2b8a52-0000-4000-8000-525400aa0001",
		"-netdev", "user,id=n0,bootfile=" + url,
	}, firmware...)...)
	cmd.Stdout, cmd.Stderr = &v.console, &v.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the machine
		cmd.Wait()
		close(v.exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-v.exited
		if t.Failed() {
			t.Logf("console:\n%s", v.console.String())
		}
	})
	return v
}

// until waits for cond, for as long as a slow machine may take.
func (v *vm) until(what string, cond func() bool) {
	v.t.Helper()
	deadline := time.Now().Add(4 * time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			v.t.Fatalf("not seen: %s", what)
		}
		select {
		case <-v.exited:
			if cond() {
				return
			}
			v.t.Fatalf("the machine went off before: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func needsTool(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("needs %s: run make setup", tool)
	}
	return path
}

// serve runs s on a free port of the loopback until the test's end and gives the URL under which a VM
// finds it.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return fmt.Sprintf("http://10.0.2.2:%d", ln.Addr().(*net.TCPAddr).Port)
}
