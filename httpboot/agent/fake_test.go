package agent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeKernel is a System and a Network that only keep what was done to them.
type fakeKernel struct {
	mu   sync.Mutex
	done []string
	// fail gives the error of the next calls that begin with the key; each error is used once.
	fail map[string][]error
	// owner answers the address probe.
	owner net.HardwareAddr
	// onLoad is called for each module.
	onLoad func(name string)
}

func (k *fakeKernel) do(format string, args ...any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	k.done = append(k.done, call)
	for key, errs := range k.fail {
		if strings.HasPrefix(call, key) && len(errs) > 0 {
			k.fail[key] = errs[1:]
			return errs[0]
		}
	}
	return nil
}

// calls gives what was done, only what begins with one of the words.
func (k *fakeKernel) calls(words ...string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, c := range k.done {
		for _, w := range words {
			if strings.HasPrefix(c, w) {
				out = append(out, c)
			}
		}
	}
	return strings.Join(out, "\n")
}

func (k *fakeKernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	if real, err := os.Readlink(target); err == nil { // a handle
		target = real
	}
	return k.do("mount %s %s %s", fstype, source, target)
}

func (k *fakeKernel) MountFile(file, target, fstype string) error {
	return k.do("mount %s %s %s", fstype, file, target)
}

func (k *fakeKernel) Unmount(target string) error { return k.do("unmount %s", target) }

func (k *fakeKernel) LoadModule(file string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	if k.onLoad != nil {
		k.onLoad(moduleName(file))
	}
	return k.do("module %s", moduleName(file))
}

func (k *fakeKernel) Kernel() string                { return "6.1.0-test" }
func (k *fakeKernel) SetTime(t time.Time) error     { return k.do("time %s", t.UTC().Format(time.RFC3339)) }
func (k *fakeKernel) SetHostname(name string) error { return k.do("hostname %s", name) }
func (k *fakeKernel) Reboot() error                 { return k.do("reboot") }
func (k *fakeKernel) Up(nic string) error           { return k.do("up %s", nic) }

// As runs fn as it is, unless it is to fail: a test need not be root.
func (k *fakeKernel) As(uid int, fn func() error) error {
	if err := k.do("as %d", uid); err != nil {
		return err
	}
	return fn()
}

func (k *fakeKernel) SwitchRoot(root, init string, args []string) error {
	return k.do("switch-root %s %q", init, args)
}

func (k *fakeKernel) SetAddress(nic string, addr netip.Prefix, gw netip.Addr) error {
	return k.do("address %s %v", nic, addr)
}

func (k *fakeKernel) Probe(_ context.Context, nic string, addr netip.Addr) (net.HardwareAddr, error) {
	err := k.do("probe %s %v", nic, addr)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owner, err
}

func (k *fakeKernel) Announce(nic string, addr netip.Addr) error {
	return k.do("announce %s %v", nic, addr)
}

// write makes files under root; a content "-> x" makes a symlink.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, name)
		} else {
			err = os.WriteFile(name, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

const cmdlineOfWeb = "quiet muster.server=http://one,http://two muster.mac=52:54:00:aa:00:01 muster.token=secret " +
	"muster.ip=10.77.0.100/24 muster.gw=10.77.0.1"

// machineTree is a machine with one NIC that has its driver, and an image with an init.
func machineTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{
		"proc/cmdline":                       cmdlineOfWeb,
		"proc/uptime":                        "12.50 3.00\n",
		"lib/modules/6.1.0-test/modules.dep": "",
		"sys/devices/pci/nic/modalias":       "pci:v1\n",
		"sys/devices/pci/nic/driver":         "-> ../drivers/virtio_net",
		"sys/bus/pci/devices/nic":            "-> ../../../devices/pci/nic",
		"sys/class/net/eth0/address":         "52:54:00:aa:00:01\n",
		"sys/class/net/eth0/type":            "1\n",
		"sys/class/net/eth0/carrier":         "1\n",
		"sys/class/net/eth0/device":          "-> ../../../devices/pci/nic",
		"sysroot/usr/sbin/init":              "",
		"sysroot/sbin":                       "-> /usr/sbin",
		"sys/class/net/lo/address":           "00:00:00:00:00:00\n",
		"sys/class/net/lo/type":              "772\n",
	})
	return root
}

// servers is what http://one and http://two answer, without a network: calls run in a synctest bubble.
type servers map[string]http.Handler

func (s servers) RoundTrip(r *http.Request) (*http.Response, error) {
	h := s[r.URL.Host]
	if h == nil {
		return nil, fmt.Errorf("dial %s: connection refused", r.URL.Host)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// lateServers are away until a time.
type lateServers struct {
	until time.Time
	servers
}

func (s lateServers) RoundTrip(r *http.Request) (*http.Response, error) {
	if time.Now().Before(s.until) {
		return servers{}.RoundTrip(r)
	}
	return s.servers.RoundTrip(r)
}

// newAgent gives an agent in root, and its console.
func newAgent(root string, k *fakeKernel, s http.RoundTripper) (*Agent, *screen) {
	scr := &screen{}
	return &Agent{
		Root: root, System: k, Network: k, Console: NewConsole(scr, false), HTTP: &http.Client{Transport: s},
		Args: []string{"single"},
	}, scr
}

// screen is a console that is read while it is written.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shows fails the test unless every text is on the screen.
func (s *screen) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(s.String(), text) {
			t.Errorf("the screen does not say %q; it says:\n%s", text, s)
		}
	}
}

var errBusy = fmt.Errorf("busy")
