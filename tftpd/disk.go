package tftpd

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// diskFile reads a file from its beginning, without waiting where its bytes are in memory: what a whole rack boots is.
type diskFile struct {
	file   *os.File
	raw    syscall.RawConn
	offset int64
}

// newReader gives f's reader, quick where f is a file of the operating system.
func newReader(f fs.File) io.Reader {
	if file, ok := f.(*os.File); ok {
		if raw, err := file.SyscallConn(); err == nil {
			return &diskFile{file: file, raw: raw}
		}
	}
	return f
}

// Read implements io.Reader.
func (d *diskFile) Read(p []byte) (int, error) {
	n, err := d.file.ReadAt(p, d.offset)
	d.offset += int64(n)
	if n > 0 {
		err = nil // the next call has it
	}
	return n, err
}

// quickRead implements quickReader with RWF_NOWAIT. File systems that do not have it cannot tell.
func (d *diskFile) quickRead(p []byte) (n int, err error) {
	cerr := d.raw.Control(func(fd uintptr) {
		n, err = unix.Preadv2(int(fd), [][]byte{p}, d.offset, unix.RWF_NOWAIT)
	})
	switch {
	case cerr != nil || err != nil:
		return 0, errHungry
	case n == 0:
		return 0, io.EOF
	}
	d.offset += int64(n)
	return n, nil
}
