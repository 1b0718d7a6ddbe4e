package tftpd

import (
	"errors"
	"io"
)

// readAhead is how much of a file is read beyond the window, in bytes: with it a lock-step transfer of
// 512-byte blocks makes one read for 64 blocks, and a machine in flight still costs less than 64 KiB.
const readAhead = 32 << 10

// blocks cuts a stream into blocks and keeps those that are not acknowledged yet, so that they can be
// sent again without a second read: a source need not seek.
type blocks struct {
	r    io.Reader
	size int
	// data is what was read and is not acknowledged, at the front or in the middle of buf.
	buf, data []byte
	// eof says that data holds the rest of the stream.
	eof bool
}

// newBlocks reads r in blocks of size bytes, of which at most window are wanted at once.
func newBlocks(r io.Reader, size, window int) *blocks {
	return &blocks{r: r, size: size, buf: make([]byte, window*size+readAhead)}
}

// ready makes sure that n blocks, or all that are left, are in memory, and says how many there are.
// last says that the final one, which is shorter than a block and may be empty (RFC 1350 §6), is among
// them.
func (b *blocks) ready(n int) (have int, last bool, err error) {
	if want := n * b.size; len(b.data) < want && !b.eof {
		if err := b.fill(want); err != nil {
			return 0, false, err
		}
	}
	if b.eof {
		if left := len(b.data)/b.size + 1; left <= n {
			return left, true, nil
		}
	}
	return n, false, nil
}

// fill reads until data has at least want bytes, or all.
func (b *blocks) fill(want int) error {
	kept := copy(b.buf, b.data)
	n, err := io.ReadAtLeast(b.r, b.buf[kept:], want-kept)
	b.data = b.buf[:kept+n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b.eof, err = true, nil
	}
	return err
}

// block gives the i-th block that is not acknowledged, from 0; ready has counted it. It is valid until
// the next call of ready.
func (b *blocks) block(i int) []byte {
	return b.data[i*b.size : min((i+1)*b.size, len(b.data))]
}

// ack drops n blocks from the front.
func (b *blocks) ack(n int) { b.data = b.data[min(n*b.size, len(b.data)):] }
