package health

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"muster/roles"
)

// listenUDP answers every packet by fn's result, nil for silence, and gives the port.
func listenUDP(t *testing.T, fn func(request []byte) []byte) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the socket is closed
		defer close(done)
		p := make([]byte, 1024)
		for {
			n, from, err := c.ReadFrom(p)
			if err != nil {
				return
			}
			if a := fn(p[:n]); a != nil {
				_, _ = c.WriteTo(a, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).Port
}

// answer makes a good answer to an NTP request.
func answer(request []byte) []byte {
	a := make([]byte, 48)
	a[0] = 4<<3 | 4 // no leap second, version 4, server
	a[1] = 2        // stratum
	copy(a[24:32], request[40:48])
	copy(a[32:], "received")
	copy(a[40:], "transmit")
	return a
}

func TestNTPAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(a []byte) []byte
		want   string
	}{
		{"good", func(a []byte) []byte { return a }, ""},
		{"stratum 15", func(a []byte) []byte { a[1] = 15; return a }, ""},
		{"extension fields", func(a []byte) []byte { return append(a, make([]byte, 28)...) }, ""},
		{"stratum 16", func(a []byte) []byte { a[1] = 16; return a }, "is not synchronized: stratum 16"},
		{"alarm", func(a []byte) []byte { a[0] |= 3 << 6; return a }, "is not synchronized: it says so"},
		{"kiss of death", func(a []byte) []byte { a[1] = 0; copy(a[12:], "RATE"); return a }, `kiss code "RATE"`},
		{"mode", func(a []byte) []byte { a[0] = 4<<3 | 1; return a }, "answers in mode 1 instead of 4"},
		{"no time", func(a []byte) []byte { copy(a[40:], make([]byte, 8)); return a }, "answers without the time"},
		{"short", func(a []byte) []byte { return a[:47] }, "answers with 47 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := listenUDP(t, func(r []byte) []byte { return c.change(answer(r)) })
			check(t, roles.Health{NTP: &roles.NTPCheck{Port: port}}, loopback, c.want)
		})
	}
}

// TestNTPRequest: what is sent is a client's request of version 4 that tells nothing of this machine, and
// differs every time.
func TestNTPRequest(t *testing.T) {
	got := make(chan []byte, 2)
	port := listenUDP(t, func(r []byte) []byte { got <- append([]byte(nil), r...); return answer(r) })
	for range 2 {
		check(t, roles.Health{NTP: &roles.NTPCheck{Port: port}}, loopback, "")
	}
	a, b := <-got, <-got
	if len(a) != 48 || a[0] != 0x23 || string(a[1:40]) != string(make([]byte, 39)) {
		t.Errorf("request % x", a)
	}
	if string(a[40:]) == string(b[40:]) {
		t.Error("two requests carry the same timestamp")
	}
}

func TestNTPSilence(t *testing.T) {
	timeout := roles.Duration(50 * time.Millisecond)
	port := listenUDP(t, func([]byte) []byte { return nil })
	check(t, roles.Health{NTP: &roles.NTPCheck{Port: port}, Timeout: timeout}, loopback,
		fmt.Sprintf("no answer from 127.0.0.1:%d within 50ms", port))

	// An answer to somebody else is no answer, and no reason to miss the right one.
	port = listenUDP(t, func(r []byte) []byte { a := answer(r); a[24] ^= 1; return a })
	check(t, roles.Health{NTP: &roles.NTPCheck{Port: port}, Timeout: timeout}, loopback, errForeign.Error())

	port = closedPort(t)
	check(t, roles.Health{NTP: &roles.NTPCheck{Port: port}}, loopback,
		fmt.Sprintf("connection refused: nothing listens on port %d", port))
}

// TestChronyd asks the server that the built-in role runs.
func TestChronyd(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: chronyd wants it")
	}
	path, err := exec.LookPath("chronyd")
	if err != nil {
		t.Skip("needs chronyd")
	}
	port, dir := closedPort(t), t.TempDir()
	conf := filepath.Join(dir, "chrony.conf")
	text := fmt.Sprintf("port %d\nbindaddress 127.0.0.1\nlocal stratum 10\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile %s/pid\n", port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-d", "-x", "-u", "root", "-f", conf)
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	h := roles.Health{NTP: &roles.NTPCheck{Port: port}, Timeout: roles.Duration(time.Second)}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := Checker{}.Check(t.Context(), h, loopback)
		if err == nil {
			break
		}
		if errors.Is(err, fs.ErrInvalid) || time.Now().After(deadline) {
			said, _ := os.ReadFile(out.Name())
			t.Fatalf("chronyd: %v\n%s", err, said)
		}
		time.Sleep(20 * time.Millisecond) // it is starting
	}
}
