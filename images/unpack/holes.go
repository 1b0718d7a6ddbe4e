package unpack

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

// hole is the smallest run of zeros that is not written: a block of every usual file system.
const hole = 4096

var zeros [hole]byte

// copyHoles writes all of r to a new file, leaving out blocks of zeros: sparse files stay what they are, and
// others become it. wrote is told before each write how many bytes it will take.
func copyHoles(fd int, r io.Reader, buf []byte, wrote func(int64) error) (size int64, err error) {
	for {
		n, err := io.ReadFull(r, buf)
		if werr := writeHoles(fd, buf[:n], size, wrote); werr != nil {
			return size, werr
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return size, unix.Ftruncate(fd, size)
		}
		if err != nil {
			return size, err
		}
	}
}

// writeHoles writes what is not zero of b, which belongs at offset.
func writeHoles(fd int, b []byte, offset int64, wrote func(int64) error) error {
	for at := 0; at < len(b); {
		end := at
		for end < len(b) && !allZero(b[end:min(end+hole, len(b))]) {
			end = min(end+hole, len(b))
		}
		if end == at {
			at = min(at+hole, len(b))
			continue
		}
		if err := wrote(int64(end - at)); err != nil {
			return err
		}
		if err := pwrite(fd, b[at:end], offset+int64(at)); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func allZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

func pwrite(fd int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}
