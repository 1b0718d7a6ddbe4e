package rack

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"
)

// port is the test's own end of a machine's port on the bridge: the machine is never switched on.
type port struct {
	t    *testing.T
	tap  *os.File
	mac  byte
	sent byte
}

func openPort(t *testing.T, r *Rack, m *Machine, mac byte) *port {
	t.Helper()
	tap, err := r.openTap(m.tap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	return &port{t: t, tap: tap, mac: mac}
}

// sends sends a frame that nobody has seen before to everybody, and gives it.
func (p *port) sends() []byte {
	p.t.Helper()
	p.sent++
	frame := bytes.Clone(arpRequest)
	frame[10+11], frame[10+27], frame[10+31] = p.mac, p.mac, p.mac // hardware address, twice, and IP address
	frame[10+37] = p.sent                                          // of the address that it asks for
	if p.sent == 1 {
		p.t.Fatal("that is the server's address")
	}
	if _, err := p.tap.Write(frame); err != nil {
		p.t.Fatal(err)
	}
	return frame[10:]
}

// asks asks the server for its hardware address.
func (p *port) asks() {
	p.t.Helper()
	frame := bytes.Clone(arpRequest)
	frame[10+11], frame[10+27], frame[10+31] = p.mac, p.mac, p.mac
	if _, err := p.tap.Write(frame); err != nil {
		p.t.Fatal(err)
	}
}

// gets reads frames until one that is wanted, within d.
func (p *port) gets(d time.Duration, wanted func(frame []byte) bool) bool {
	p.t.Helper()
	p.tap.SetReadDeadline(time.Now().Add(d))
	buf := make([]byte, 2048)
	for {
		n, err := p.tap.Read(buf)
		if err != nil {
			return false
		}
		if n > 10 && wanted(buf[10:n]) {
			return true
		}
	}
}

// Waiting for what comes is generous. What was dropped has been dropped when the next frame to the same port, by
// another way, has arrived; where there is no such way, the wait is short.
const (
	comes = 30 * time.Second
	never = 300 * time.Millisecond
)

// hears says whether a frame that p sends arrives at q, within d.
func (p *port) hears(q *port, d time.Duration) bool {
	p.t.Helper()
	frame := q.sends()
	return p.gets(d, func(f []byte) bool { return bytes.HasPrefix(f, frame) })
}

// answered says whether the server answers the port within d.
func (p *port) answered(d time.Duration) bool {
	p.t.Helper()
	p.asks()
	return p.gets(d, func(f []byte) bool {
		return len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 2 && f[5] == p.mac
	})
}

// TestCut sends frames between three ports and the server while some of them are cut.
func TestCut(t *testing.T) {
	needsRack(t, "nft")
	r := newRack(t, Options{Accel: AccelTCG})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var m []*Machine
	var p []*port
	for i := range 3 {
		one, err := r.Add(MachineSpec{Firmware: BIOS})
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, one)
		p = append(p, openPort(t, r, one, byte(0x20+i)))
		p[i].sent = byte(0x20 + 0x20*i)
	}
	const server = -1
	// look sends a frame each way between any two: it must arrive, unless dropped says otherwise.
	look := func(when string, dropped func(from, to int) bool) {
		t.Helper()
		for i := range p {
			want := !dropped(i, server) && !dropped(server, i)
			if got := p[i].answered(patience(want)); got != want {
				t.Errorf("%s: the server answers port %d: %t, want %t", when, i, got, want)
			}
			for j := range p {
				if i == j {
					continue
				}
				want := !dropped(i, j)
				if got := p[j].hears(p[i], patience(want)); got != want {
					t.Errorf("%s: a frame from port %d reaches port %d: %t, want %t", when, i, j, got, want)
				}
			}
		}
	}
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	none := func(int, int) bool { return false }
	look("at first", none)
	change(r.Cut(ctx, m[0]))
	look("with 0 cut off", func(from, to int) bool { return from == 0 || to == 0 })
	change(r.Heal(ctx))
	look("healed", none)
	change(r.CutBetween(ctx, m[0], m[1]))
	between := func(from, to int) bool { return from+to == 1 && from >= 0 && to >= 0 }
	look("with 0 and 1 parted", between)
	// A port is made anew at every power-on.
	change(p[0].tap.Close())
	p[0].tap = openPort(t, r, m[0], 0x20).tap
	look("with 0 and 1 parted, after a power cycle", between)
	change(r.Cut(ctx, m[2]))
	look("with 2 cut off too", func(from, to int) bool { return between(from, to) || from == 2 || to == 2 })
	if err := r.Lose(ctx, 0); err != nil {
		t.Fatal(err)
	}
	look("and no loss", func(from, to int) bool { return between(from, to) || from == 2 || to == 2 })
	change(r.Heal(ctx))
	look("healed again", none)
}

func patience(comesThrough bool) time.Duration {
	if comesThrough {
		return comes
	}
	return never
}
