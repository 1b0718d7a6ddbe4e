package pair

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lookSplit notes that DRBD has found both sides written. It stays noted until both talk again.
func (d *Daemon) lookSplit(s drbd) {
	d.mu.Lock()
	split := d.split
	d.mu.Unlock()
	switch {
	case s.connected():
		split = false
	case s.connection == "StandAlone" && !split:
		split = d.machine.kernelSaid("Split-Brain detected") != ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if split && !d.split {
		d.Console.Fail("storage pair: DRBD says that both halves were written; nothing is discarded by itself: muster storage status")
	}
	d.split = split
}

// kernelSaid gives the last line of the kernel's log with that text, "" for none.
func (m *machine) kernelSaid(text string) string {
	// Not os.Open: a read at the log's end must not wait for the next record.
	fd, err := unix.Open(m.path("/dev/kmsg"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	found := ""
	buf := make([]byte, 16<<10) // a record has 8 KiB at most
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // older ones have gone
			continue
		case err != nil || n <= 0:
			return found
		}
		for line := range strings.Lines(string(buf[:n])) {
			if _, said, ok := strings.Cut(line, ";"); ok && strings.Contains(said, text) {
				found = strings.TrimSpace(said)
			}
		}
	}
}

// endSplit lets this half take the other one's data, when an operator has decided so. Otherwise it only tries again to
// connect: the other half may have been told to give its data up, and DRBD is configured to discard nothing by itself.
func (d *Daemon) endSplit(ctx context.Context, o Orders, r Report) (bool, error) {
	m := &d.machine
	s := m.drbd()
	if s.connected() || !s.configured() || !o.Discard && !(r.Split && s.connection == "StandAlone") {
		return false, nil
	}
	if o.Discard && s.role == "Primary" {
		return false, errors.New("this half is active: its data can't be discarded while they are served")
	}
	if !d.rare("split", 30*time.Second) {
		return false, errLater
	}
	if !o.Discard {
		return true, m.drbdadm(ctx, "connect", Resource)
	}
	d.Console.Say("storage pair: this half gives its data up for the other one's, as an operator wanted")
	if s.connection != "StandAlone" {
		if err := m.drbdadm(ctx, "disconnect", Resource); err != nil {
			return false, err
		}
	}
	return true, m.drbdadm(ctx, "--", "--discard-my-data", "connect", Resource)
}
