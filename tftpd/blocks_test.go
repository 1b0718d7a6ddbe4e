package tftpd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestBlocks: blocks of every kind of source, acknowledged in pieces, add up to it.
func TestBlocks(t *testing.T) {
	for _, size := range []int{0, 1, 8, 15, 16, 100, 64 * 512, 200_001} {
		for _, window := range []int{1, 3, 64} {
			for _, wrap := range []func(io.Reader) io.Reader{
				func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader,
			} {
				want, got := content(size), []byte{}
				b := newBlocks(wrap(bytes.NewReader(want)), 8, window)
				for step := 1; ; step++ {
					n, last, err := b.ready(window)
					if errors.Is(err, errHungry) {
						b.feed(window)
						n, last, err = b.ready(window)
					}
					if err != nil || n < 1 || n > window {
						t.Fatalf("ready = %d, %v", n, err)
					}
					acked := 1 + step%n
					for i := range acked {
						got = append(got, b.block(i)...)
					}
					if last && acked == n {
						if len(b.block(n-1)) >= 8 {
							t.Errorf("the last block has %d bytes", len(b.block(n-1)))
						}
						break
					}
					b.ack(acked)
				}
				equal(t, got, want)
			}
		}
	}
}

// TestNetasciiReader: every length of the caller's buffer, so that pairs are cut in every place.
func TestNetasciiReader(t *testing.T) {
	const in, want = "a\nb\r\n\r\r\n\n", "a\r\nb\r\x00\r\n\r\x00\r\x00\r\n\r\n"
	for size := 1; size < 20; size++ {
		var got bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, newNetascii(strings.NewReader(in)), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("buffer of %d: %q, want %q", size, got.String(), want)
		}
	}
}
