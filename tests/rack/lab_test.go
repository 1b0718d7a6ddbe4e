package rack

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/roles"
)

// serveLab serves the rack's lab for the test and returns its socket and what ServeLab returned.
func serveLab(ctx context.Context, t *testing.T, r *Rack) (socket string, ended <-chan error) {
	t.Helper()
	socket = filepath.Join(r.Dir(), "lab.sock")
	errc := make(chan error, 1)
	go func() { errc <- r.ServeLab(ctx, socket) }() // ends with ctx or the rack
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return socket, errc
		}
		select {
		case err := <-errc:
			t.Fatal("lab ended: ", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestLab adds, switches and watches a machine over the lab's socket.
func TestLab(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	socket, ended := serveLab(ctx, t, r)
	lab := LabClient{Socket: socket}

	m, err := lab.Add(ctx, MachineSpec{Name: "a", Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	if m.MAC.IsZero() || m.On || m.Name != "a" || m.Firmware != BIOS {
		t.Errorf("added %+v", m)
	}
	if _, err := lab.Add(ctx, MachineSpec{Name: "a", Firmware: BIOS}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second machine a: got error %v, want exist", err)
	}
	if _, err := lab.Add(ctx, MachineSpec{Firmware: "coreboot"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("unknown firmware: got error %v, want invalid", err)
	}
	if _, err := lab.Power(ctx, roles.MAC{2}, "on"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown machine: got error %v, want not exist", err)
	}
	if _, err := lab.Power(ctx, m.MAC, "reset"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("reset while off: got error %v, want invalid", err)
	}
	for range 2 { // switching on what is on changes nothing
		if m, err = lab.Power(ctx, m.MAC, "on"); err != nil || !m.On {
			t.Fatalf("on: got %+v, error %v", m, err)
		}
	}
	watch(ctx, t, lab, m.MAC, "SeaBIOS")
	if m, err = lab.Power(ctx, m.MAC, "off"); err != nil || m.On {
		t.Errorf("off: got %+v, error %v", m, err)
	}
	if list, err := lab.Machines(ctx); err != nil || len(list) != 1 || list[0] != m {
		t.Errorf("list: got %+v, error %v; want only %+v", list, err, m)
	}
	var all output
	if err := lab.Console(ctx, m.MAC, false, &all); err != nil || all.String() == "" {
		t.Errorf("console: %d bytes, error %v", len(all.String()), err)
	}
	if err := r.ServeLab(ctx, socket); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second lab on the socket: got error %v, want exist", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("lab ended with %v", err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("socket is left")
	}
}

// watch follows a console until text appears.
func watch(ctx context.Context, t *testing.T, lab LabClient, mac roles.MAC, text string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	seen := &finder{text: text, found: cancel}
	if err := lab.Console(ctx, mac, true, seen); err != nil {
		t.Errorf("follow: %v", err)
	}
	if !seen.done {
		t.Errorf("the console did not say %q", text)
	}
}

// finder calls found when text was written to it.
type finder struct {
	text  string
	buf   []byte
	found func()
	done  bool
}

func (f *finder) Write(p []byte) (int, error) {
	f.buf = append(f.buf, p...)
	var s stripper
	if bytes.Contains(s.clean(f.buf), []byte(f.text)) {
		f.done = true
		f.found()
	}
	return len(p), nil
}
