package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// zstdWindow bounds the memory that a zstd stream may ask for: what zstd -22 --ultra uses.
const zstdWindow = 128 << 20

// Decompress gives what a stream holds, by its first bytes: gzip, zstd, xz, bzip2, or itself. Close releases
// memory; it does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	magic, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var out io.ReadCloser
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		out, err = gzip.NewReader(b)
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(b, zstd.WithDecoderMaxWindow(zstdWindow)); err == nil {
			out = z.IOReadCloser()
		}
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		var x *xz.Reader
		if x, err = xz.NewReader(b); err == nil {
			out = io.NopCloser(x)
		}
	case bytes.HasPrefix(magic, []byte("BZh")):
		out = io.NopCloser(bzip2.NewReader(b))
	default:
		return io.NopCloser(b), nil
	}
	if err != nil {
		return nil, fmt.Errorf("decompress: %w: %w", err, fs.ErrInvalid)
	}
	return out, nil
}
