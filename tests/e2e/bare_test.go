package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"muster/roles"
	"muster/roles/api"
	"muster/tests/rack"
)

// nic is the rack's end of a cable of the test's own, plugged into the rack's switch: simulated machines
// speak DHCP there.
const nic = "c0"

// newBare makes a rack without machines and without images, and the configuration of a boot server that is
// not started yet. setup is called before the rack is made, with the data directory; nil does nothing.
func newBare(t *testing.T, setup func(data string)) *site {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces")
	}
	s := &site{t: t, dir: t.TempDir()}
	s.socket = filepath.Join(s.dir, "muster.sock")
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(data)
	}
	r, err := rack.New(t.Context(), rack.Options{Accel: rack.AccelTCG})
	if err != nil {
		t.Fatal(err)
	}
	s.rack = r
	t.Cleanup(func() { _ = r.Close() })
	s.run("ip", "link", "add", nic, "type", "veth", "peer", "name", nic+"p")
	s.run("ip", "link", "set", nic+"p", "master", rack.BridgeName, "up")
	s.run("ip", "link", "set", nic, "up")
	s.configure(nil)
	s.client = api.Dial(s.socket)
	t.Cleanup(func() {
		if s.serve != nil {
			s.stop()
		}
		if t.Failed() {
			t.Logf("log of muster serve:\n%s", s.log.String())
		}
	})
	return s
}

// configure writes muster.yaml, changed by edit.
func (s *site) configure(edit func(yaml string) string) {
	s.t.Helper()
	yaml := configYAML(filepath.Join(s.dir, "data"), s.socket, "")
	if edit != nil {
		yaml = edit(yaml)
	}
	write(s.t, filepath.Join(s.dir, "muster.yaml"), yaml)
}

// run executes a program in the rack.
func (s *site) run(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	out, err := s.rack.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// refused runs muster in the rack and expects that it ends by itself with an error, as one line of stderr
// that has all of want. Env is added to the environment.
func (s *site) refused(env []string, args []string, want ...string) {
	s.t.Helper()
	args = append([]string{"--config", filepath.Join(s.dir, "muster.yaml")}, args...)
	cmd := s.rack.Command(s.t.Context(), "env", append(append(env, filepath.Join(work.bin, "muster")), args...)...)
	refuses(s.t, cmd, want...)
	if left := s.processes("muster", "ganesha.nfsd", "rpcbind"); s.serve == nil && len(left) > 0 {
		s.t.Errorf("it left processes: %v", left)
	}
	if _, err := os.Stat(s.socket); err == nil && s.serve == nil {
		s.t.Error("it left its socket")
	}
}

// refuses runs a command that is to fail, and looks at its last words.
func refuses(t *testing.T, cmd *exec.Cmd, want ...string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the command
	var err error
	select {
	case err = <-done:
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("%v does not end; it said:\n%s", cmd.Args, stderr.String())
	}
	var lines []string
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "muster: ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	said := strings.Join(lines, "\n")
	t.Logf("exit %d: %s", cmd.ProcessState.ExitCode(), said)
	if err == nil || cmd.ProcessState.ExitCode() <= 0 {
		t.Errorf("it ended with %v, want an exit code above 0", cmd.ProcessState)
	}
	if len(lines) != 1 {
		t.Errorf("it said %d sentences, want one:\n%s", len(lines), stderr.String())
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("it said %q, which does not say %q", said, w)
		}
	}
}

// processes lists what runs of these programs in the rack's network, as "name pid".
func (s *site) processes(names ...string) (out []string) {
	s.t.Helper()
	var rackNet string
	err := s.rack.Inside(func() (err error) {
		rackNet, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		if ns, err := os.Readlink(filepath.Join(proc, "ns/net")); err != nil || ns != rackNet {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join(proc, "comm"))
		for _, n := range names {
			if strings.TrimSpace(string(comm)) == n {
				out = append(out, n+" "+filepath.Base(proc))
			}
		}
	}
	return out
}

// none says whether none of these programs runs.
func (s *site) none(names ...string) bool { return len(s.processes(names...)) == 0 }

// eventually waits until ok is true.
func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within a minute: %s; there are %v", what, s.processes("muster", "ganesha.nfsd", "rpcbind", "sh"))
		}
	}
}

// metric sums a metric's values over its labels.
func (s *site) metric(name string) (sum float64) {
	s.t.Helper()
	for line := range strings.Lines(s.get("http://127.0.0.1:8081/metrics")) {
		metric, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(metric, "{"); base == name {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				s.t.Fatalf("%s: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// pxe makes a request one of a BIOS PXE ROM (RFC 4578).
var pxe = []dhcpv4.Modifier{
	dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")),
	dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 0}),
}

// dhcp runs f with a DHCP client, which somebody else wrote, of the machine mac.
func (s *site) dhcp(mac roles.MAC, f func(*nclient4.Client) error) error {
	s.t.Helper()
	var c *nclient4.Client
	err := s.rack.Inside(func() (err error) {
		c, err = nclient4.New(nic, nclient4.WithHWAddr(net.HardwareAddr(mac[:])), nclient4.WithTimeout(500*time.Millisecond), nclient4.WithRetry(3))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	return f(c)
}

// lease gets an address, or says why not.
func (s *site) lease(mac roles.MAC, mods ...dhcpv4.Modifier) (a netip.Addr, err error) {
	s.t.Helper()
	err = s.dhcp(mac, func(c *nclient4.Client) error {
		l, err := c.Request(s.t.Context(), mods...)
		if err == nil {
			a, _ = netip.AddrFromSlice(l.ACK.YourIPAddr.To4())
		}
		return err
	})
	return a, err
}

// serves fails the test when a machine could not boot now: it gets a lease, its boot program, its script.
func (s *site) serves(mac roles.MAC) {
	s.t.Helper()
	var a netip.Addr
	s.eventually("a machine gets a lease", func() (ok bool) {
		var err error
		a, err = s.lease(mac, pxe...)
		if err != nil && !errors.Is(err, nclient4.ErrNoResponse) {
			s.t.Logf("lease of %s: %v", mac, err)
		}
		return err == nil
	})
	nbp := filepath.Join(s.dir, "nbp")
	s.run("busybox", "tftp", "-g", "-r", "undionly.kpxe", "-l", nbp, s.rack.Server().Addr().String())
	if fi, err := os.Stat(nbp); err != nil || fi.Size() < 10_000 {
		s.t.Errorf("the boot program by TFTP: %v, %v", fi, err)
	}
	if script := s.script(mac, a.String()); !strings.HasPrefix(script, "#!ipxe\n") {
		s.t.Errorf("the script:\n%s", script)
	}
}

// script fetches a machine's script as iPXE does.
func (s *site) script(mac roles.MAC, a string) string {
	s.t.Helper()
	return s.get(fmt.Sprintf("http://10.77.0.1:8080/ipxe?mac=%s&ip=%s&platform=pcbios&arch=x86_64",
		strings.ReplaceAll(mac.String(), ":", "-"), a))
}

func machineMAC(n int) roles.MAC { return roles.MAC{0x52, 0x54, 0x00, 0xbd, byte(n >> 8), byte(n)} }
