package tftpd

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDropEnded: who gives a flow up at the moment when it ended by itself writes nothing, as the poller may have closed its
// files since, and another file have their numbers.
func TestDropEnded(t *testing.T) {
	other, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	p := &poller{closed: true, wake: other} // as after shut
	f := &udpFlow{poller: p, slot: -1, ended: make(chan struct{})}
	close(f.ended)
	p.drop(f)
	if n, err := unix.Read(other, make([]byte, 8)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%d bytes were written to another file (%v)", n, err)
	}
	if len(p.news) != 0 {
		t.Error("word was left for nobody")
	}
}
