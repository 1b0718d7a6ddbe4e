package rack

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

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

// output is what a program wrote so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startDnsmasq starts Debian's DHCP and TFTP server in the rack: iPXE gets script, other firmware what args
// say.
func startDnsmasq(t *testing.T, r *Rack, script string, args ...string) *output {
	t.Helper()
	root := filepath.Join(r.Dir(), "tftp")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "boot.ipxe"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", "--user=root",
		"--pid-file=", "--dhcp-leasefile=/run/leases", "--log-facility=-", "--log-dhcp",
		"--interface=" + BridgeName, "--bind-interfaces", "--dhcp-range=10.77.0.100,10.77.0.199,1h",
		"--enable-tftp", "--tftp-root=" + root,
		"--dhcp-match=set:ipxe,175", "--dhcp-boot=tag:ipxe,boot.ipxe",
	}, args...)
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
