package dhcpd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that has to happen. It is long because machines that run
// tests are slow; nothing waits for it to pass.
const patience = 180 * time.Second

// inNamespace runs the calling test once more in a process of its own, in a network namespace without a
// name that ends with it. It returns true there, and false, when that is over, in the outer process.
func inNamespace(t *testing.T, tools ...string) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	for _, tool := range append(tools, "ip", "nsenter") {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	const mark = "MUSTER_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	return false
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// machine is another network namespace, with one interface eth0 whose other end is here.
type machine struct {
	*testing.T
	pid int // of the process that holds the namespace
}

// newMachine makes one, wired to the new interface port here, which gets the address cidr; empty for none.
func newMachine(t *testing.T, port, cidr string) *machine {
	t.Helper()
	hold := exec.Command("sleep", "infinity")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Process.Kill(); _ = hold.Wait() })
	m := &machine{t, hold.Process.Pid}
	run(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(m.pid))
	if cidr != "" {
		run(t, "ip", "addr", "add", cidr, "dev", port)
	}
	run(t, "ip", "link", "set", port, "up")
	m.run("ip", "link", "set", "lo", "up")
	m.run("ip", "link", "set", "eth0", "up")
	return m
}

// command runs in the machine's namespace.
func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(m.pid), "-n"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (m *machine) run(args ...string) {
	m.Helper()
	if out, err := m.command(args...).CombinedOutput(); err != nil {
		m.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs a program in the background until stop is called or the test ends; what it prints is shown if
// the test failed.
func (m *machine) start(args ...string) (p *os.Process, stop func()) {
	m.Helper()
	cmd := m.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // for what it left behind
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if m.Failed() {
			m.Logf("%s:\n%s", strings.Join(args, " "), &out)
		}
	})
	m.Cleanup(stop)
	return cmd.Process, stop
}
