package rack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// TestTwoRacks runs the same servers on the same addresses in two racks, with the same files in their /run.
func TestTwoRacks(t *testing.T) {
	needsRack(t, "dnsmasq", "rpcbind", "rpcinfo")
	racks := []*Rack{newRack(t, Options{Accel: AccelTCG}), newRack(t, Options{Accel: AccelTCG})}
	for i, r := range racks {
		startDnsmasq(t, r, bootScript)
		startRpcbind(t, r)
		ln, err := r.Listen(t.Context(), "tcp", "10.77.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "rack %d", i) })}
		go srv.Serve(ln) // until Close
		defer srv.Close()
		if out, err := r.Command(t.Context(), "sh", "-c", "echo $0 >/run/mine", r.Name()).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for i, r := range racks {
		resp, err := r.HTTPClient().Get("http://10.77.0.1/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != fmt.Sprintf("rack %d", i) {
			t.Errorf("rack %d served %q, error %v", i, body, err)
		}
		if mine, err := os.ReadFile(r.Path("/run/mine")); err != nil || string(mine) != r.Name()+"\n" {
			t.Errorf("rack %d has %q in its /run, error %v", i, mine, err)
		}
	}
	if _, err := os.Stat("/run/mine"); err == nil {
		t.Error("a rack's /run is the host's")
	}
	if racks[0].Name() == racks[1].Name() {
		t.Errorf("both are called %s", racks[0].Name())
	}
}

// startRpcbind starts the port mapper, which keeps a lock and a socket in /run, and waits until it answers.
func startRpcbind(t *testing.T, r *Rack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := new(output)
	cmd := r.Command(context.Background(), "rpcbind", "-f") // until the rack closes
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
	for r.Command(ctx, "rpcinfo", "-p", r.Server().Addr().String()).Run() != nil {
		if ctx.Err() != nil {
			t.Fatalf("no port mapper: %v: %s", ctx.Err(), out)
		}
	}
}

// TestCommand looks at what a program in the rack sees.
func TestCommand(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	cmd := r.Command(t.Context(), "sh", "-c", "pwd; ls /sys/class/net; echo $$ $EXTRA; exit 7")
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Env, "EXTRA=more")
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
	want := fmt.Sprintf("%s\nbr0\nlo\n%d more\n", cmd.Dir, cmd.Process.Pid)
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
	entered, err := exec.Command("sh", "-c", r.Enter()+" ls /sys/class/net").CombinedOutput()
	if err != nil || string(entered) != "br0\nlo\n" {
		t.Errorf("%s: got %q, error %v", r.Enter(), entered, err)
	}
	if err := r.Command(t.Context(), "no-such-program").Run(); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("missing program: got error %v", err)
	}
}

// TestDial reaches what listens in the rack, with streams and packets, and nothing of the host.
func TestDial(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	pc, err := r.ListenPacket(t.Context(), "udp", "10.77.0.1:123")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	conn, err := r.Dial(t.Context(), "udp", "10.77.0.1:123")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "what time is it?")
	buf := make([]byte, 100)
	if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "what time is it?" {
		t.Errorf("got %q, error %v", buf[:n], err)
	}
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if conn, err := r.Dial(t.Context(), "tcp", outside.Addr().String()); err == nil {
		conn.Close()
		t.Error("reached the host's loopback from inside")
	}
	if _, err := r.Dial(t.Context(), "tcp", "example.org:80"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("name: got error %v, want invalid", err)
	}
}

// TestReset sees the firmware start again, and a wait end when the machine is switched off.
func TestReset(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{})
	m, err := r.Add(MachineSpec{Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	if err := m.On(); err != nil {
		t.Fatal(err)
	}
	pid := m.PID()
	for range 3 {
		if _, err := m.WaitConsole(ctx, regexp.MustCompile("SeaBIOS")); err != nil {
			t.Fatal(err)
		}
		if err := m.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	if m.PID() != pid {
		t.Errorf("pid %d became %d by a reset", pid, m.PID())
	}
	if err := m.Off(); err != nil || m.Running() {
		t.Errorf("off: error %v, running %t", err, m.Running())
	}
	if _, err := m.WaitConsole(ctx, regexp.MustCompile("never printed")); err == nil || !strings.Contains(err.Error(), "is off") {
		t.Errorf("wait while off: got error %v", err)
	}
	var dump strings.Builder
	r.Dump(&dump, 0)
	if !strings.Contains(dump.String(), "SeaBIOS") || !strings.Contains(dump.String(), m.MAC().String()) {
		t.Errorf("dump:\n%s", &dump)
	}
	if raw, err := os.ReadFile(m.ConsoleFile()); err != nil || !strings.Contains(string(raw), "\x1b") {
		t.Errorf("console file has no escape sequences, error %v", err)
	}
}

func TestAdd(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	first, err := r.Add(MachineSpec{Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		spec MachineSpec
		want error
	}{
		{MachineSpec{Firmware: BIOS, MAC: first.MAC()}, fs.ErrExist},
		{MachineSpec{Firmware: BIOS, Name: first.Name()}, fs.ErrExist},
		{MachineSpec{Firmware: BIOS, Name: "../up"}, fs.ErrInvalid},
		{MachineSpec{Firmware: BIOS, MAC: roles.MAC{1}}, fs.ErrInvalid},
		{MachineSpec{}, fs.ErrInvalid},
		{MachineSpec{Firmware: BIOS, NIC: "ne2k"}, fs.ErrInvalid},
		{MachineSpec{Firmware: UEFIHTTP, NIC: E1000E}, fs.ErrInvalid},
	} {
		if _, err := r.Add(tt.spec); !errors.Is(err, tt.want) {
			t.Errorf("%+v: got error %v, want %v", tt.spec, err, tt.want)
		}
	}
	second, err := r.Add(MachineSpec{Firmware: UEFI})
	if err != nil {
		t.Fatal(err)
	}
	a, b := first.Spec(), second.Spec()
	if a.MAC == b.MAC || a.UUID == b.UUID || a.Serial == b.Serial || a.Name == b.Name {
		t.Errorf("alike: %+v, %+v", a, b)
	}
	if files, _ := filepath.Glob(filepath.Join(r.Dir(), b.Name, "nvram.fd")); len(files) != 1 {
		t.Error("the UEFI machine has no NVRAM of its own")
	}
	if r.Machine(b.MAC) != second || r.Machine(roles.MAC{2}) != nil {
		t.Error("Machine finds the wrong one")
	}
}
