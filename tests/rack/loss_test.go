package rack

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

// arpRequest asks, from 10.77.0.9, for the server's hardware address; the first ten bytes are the virtio header.
var arpRequest = append(make([]byte, 10), []byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 9, 0x08, 0x06,
	0, 1, 0x08, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0, 0, 9, 10, 77, 0, 9, 0, 0, 0, 0, 0, 0, 10, 77, 0, 1,
}...)

// ask sends ARP requests from a port of the bridge until done.
func ask(ctx context.Context, t *testing.T, tap *os.File, done func() bool) {
	t.Helper()
	for !done() {
		if _, err := tap.Write(arpRequest); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatal("too late: ", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestLose sends frames from a port of its own: they are answered, then lost, then answered again.
func TestLose(t *testing.T) {
	needsRack(t, "nft")
	r := newRack(t, Options{Accel: AccelTCG})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tap, err := r.openTap("test0")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	frame := make([]byte, 2048)
	answered := func() bool {
		tap.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, _ := tap.Read(frame)
		return n >= 32 && bytes.Equal(frame[10:][12:22], []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2})
	}
	ask(ctx, t, tap, answered)
	if err := r.Lose(ctx, 100); err != nil {
		t.Fatal(err)
	}
	// Every request is counted by the rule that drops it.
	ask(ctx, t, tap, func() bool {
		out, err := r.Command(ctx, "nft", "list", "chain", "bridge", lossTable, "input").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return !strings.Contains(string(out), "packets 0 ")
	})
	for n := 1; n > 0; { // answers from before
		tap.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, _ = tap.Read(frame)
	}
	if _, err := tap.Write(arpRequest); err != nil {
		t.Fatal(err)
	}
	if answered() {
		t.Error("answered though every frame is lost")
	}
	if err := r.Lose(ctx, 0); err != nil {
		t.Fatal(err)
	}
	ask(ctx, t, tap, answered)
	if err := r.Lose(ctx, 101); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("101 %%: got error %v, want invalid", err)
	}
}
