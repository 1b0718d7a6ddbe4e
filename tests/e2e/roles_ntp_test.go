package e2e

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestRoleNTP: two time servers with none above find out who leads, and a client that follows both gets the time.
func TestRoleNTP(t *testing.T) {
	s := newRoleSite(t, "ntp", "{}")
	first, second := s.roleMachine("ntp", "first"), s.roleMachine("ntp", "second")
	s.waitServing(first.MAC().String())
	s.waitServing(second.MAC().String())

	dir := filepath.Join(s.dir, "client") // chronyd talks in a directory that is its own only
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conf, socket := filepath.Join(dir, "client.conf"), filepath.Join(dir, "client.sock")
	write(t, conf, fmt.Sprintf("server 10.77.0.40 iburst minpoll 2 maxpoll 2\nserver 10.77.0.41 iburst minpoll 2 maxpoll 2\n"+
		"port 0\ncmdport 0\nbindcmdaddress %s\npidfile %s\n", socket, filepath.Join(dir, "client.pid")))
	cmd := s.rack.Command(context.Background(), "chronyd", "-d", "-x", "-u", "root", "-f", conf)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	// The leader's stratum is 10; who follows it has 11, which only its peer can have told it.
	s.until("a leader and a follower", func() error {
		out, err := exec.Command("chronyc", "-h", socket, "-c", "-n", "sources").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var sum int
		for line := range strings.Lines(string(out)) {
			// Mode, state, address, stratum, poll, reach, last, offset (s), …
			f := strings.Split(strings.TrimSpace(line), ",")
			if len(f) < 8 {
				return fmt.Errorf("%s", out)
			}
			stratum, _ := strconv.Atoi(f[3])
			offset, err := strconv.ParseFloat(f[7], 64)
			if err != nil || math.Abs(offset) > 5 {
				return fmt.Errorf("%s is off: %s", f[2], line)
			}
			sum += stratum
		}
		if sum != 10+11 {
			return fmt.Errorf("strata: %s", out)
		}
		return nil
	})
}
