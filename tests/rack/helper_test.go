package rack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// snponly is iPXE for UEFI, from the Debian package ipxe.
const snponly = "/usr/lib/ipxe/snponly.efi"

// bootWait is how long a firmware may take on a slow, busy machine.
const bootWait = 3 * time.Minute

// needsRack skips a test that cannot run here.
func needsRack(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	for _, tool := range append([]string{"qemu-system-x86_64", "nsenter"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: run make setup", tool)
		}
	}
}

// newRack makes a rack that ends with the test; a failing test shows its consoles.
func newRack(t *testing.T, o Options) *Rack {
	t.Helper()
	if o.Accel == "" {
		o.Accel = Accel(os.Getenv("MUSTER_ACCEL"))
	}
	r, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.Dump(t.Output(), 0)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// output is what a program wrote so far, and when.
type output struct {
	mu     sync.Mutex
	pieces []piece
}

type piece struct {
	at   time.Time
	text string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pieces = append(o.pieces, piece{time.Now(), string(p)})
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, p := range o.pieces {
		b.WriteString(p.text)
	}
	return b.String()
}

// first is when text was first written.
func (o *output) first(t *testing.T, text string) time.Time {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.pieces {
		if strings.Contains(p.text, text) {
			return p.at
		}
	}
	t.Errorf("%q was not written", text)
	return time.Time{}
}

// startDnsmasq starts Debian's DHCP and TFTP server in the rack: iPXE gets script, other firmware what args
// say. It answers router solicitations too, though it is no router (lifetime 0), since iPXE waits 13 s for that, and
// tells iPXE (option 175.176, no-pxedhcp) not to wait 3 s for a proxyDHCP server.
func startDnsmasq(t *testing.T, r *Rack, script string, args ...string) *output {
	t.Helper()
	root := filepath.Join(r.Dir(), "tftp")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "boot.ipxe"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(snponly, filepath.Join(root, "snponly.efi")); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", "--user=root",
		"--pid-file=", "--dhcp-leasefile=/run/leases", "--log-facility=-", "--log-dhcp",
		"--interface=" + BridgeName, "--bind-interfaces", "--dhcp-range=10.77.0.100,10.77.0.199,1h",
		"--enable-tftp", "--tftp-root=" + root,
		"--enable-ra", "--dhcp-range=fd77::,ra-only", "--ra-param=" + BridgeName + ",60,0",
		"--dhcp-option=encap:175,176,1b",
		"--dhcp-match=set:ipxe,175", "--dhcp-boot=tag:ipxe,boot.ipxe",
	}, args...)
	if out, err := r.Command(t.Context(), "ip", "-6", "address", "add", "fd77::1/64", "nodad", "dev", BridgeName).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := r.Command(ctx, "dnsmasq", args...)
	out := new(output)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Log("dnsmasq:\n" + out.String())
		}
	})
	return out
}
