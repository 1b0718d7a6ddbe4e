package tftpd

import (
	"errors"
	"io"
)

// readAhead is how much of a file is read beyond the window, in bytes: with it a lock-step transfer of
// 512-byte blocks makes one read for 64 blocks, and a machine in flight still costs less than 64 KiB.
const readAhead = 32 << 10

// errHungry is returned when the next blocks would have to be waited for: feed does so.
var errHungry = errors.New("not in memory")

// quickReader reads without waiting. It returns errHungry when it would have to, or cannot tell.
type quickReader interface{ quickRead(p []byte) (int, error) }

// blocks cuts a stream into blocks and keeps those that are not acknowledged yet, so that they can be
// sent again without a second read: a source need not seek.
type blocks struct {
	r    io.Reader
	size int
	// data is what was read and is not acknowledged, at the front or in the middle of buf.
	buf, data []byte
	// eof says that data holds the rest of the stream; err is what reading failed with.
	eof bool
	err error
}

// newBlocks reads r in blocks of size bytes, of which at most window are wanted at once.
func newBlocks(r io.Reader, size, window int) *blocks {
	return &blocks{r: r, size: size, buf: make([]byte, window*size+readAhead)}
}

// ready makes sure that n blocks, or all that are left, are in memory, and says how many there are.
// last says that the final one, which is shorter than a block and may be empty (RFC 1350 §6), is among
// them. The error is errHungry, or what reading failed with.
func (b *blocks) ready(n int) (have int, last bool, err error) {
	if want := n * b.size; len(b.data) < want && !b.eof && b.err == nil && !b.quick(want) {
		return 0, false, errHungry
	}
	if b.err != nil {
		return 0, false, b.err
	}
	if b.eof {
		if left := len(b.data)/b.size + 1; left <= n {
			return left, true, nil
		}
	}
	return n, false, nil
}

// quick tries to read until data has at least want bytes, without waiting.
func (b *blocks) quick(want int) bool {
	q, ok := b.r.(quickReader)
	if !ok {
		return false
	}
	kept := copy(b.buf, b.data)
	b.data = b.buf[:kept]
	for len(b.data) < want {
		n, err := q.quickRead(b.buf[len(b.data):])
		b.data = b.buf[:len(b.data)+n]
		if errors.Is(err, io.EOF) {
			b.eof = true
			return true
		}
		if err != nil {
			return false
		}
	}
	return true
}

// feed reads until n blocks are in memory, or all.
func (b *blocks) feed(n int) {
	kept := copy(b.buf, b.data)
	b.data = b.buf[:kept]
	if want := n * b.size; want > kept {
		n, err := io.ReadAtLeast(b.r, b.buf[kept:], want-kept)
		b.data = b.buf[:kept+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			b.eof, err = true, nil
		}
		b.err = err
	}
}

// block gives the i-th block that is not acknowledged, from 0; ready has counted it. It is valid until
// the next call of ready or feed.
func (b *blocks) block(i int) []byte {
	return b.data[i*b.size : min((i+1)*b.size, len(b.data))]
}

// ack drops n blocks from the front.
func (b *blocks) ack(n int) { b.data = b.data[min(n*b.size, len(b.data)):] }
