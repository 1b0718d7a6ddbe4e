package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// segmentSize holds some 60,000 leases that were committed one by one: minutes of a rack in a hurry, and seconds of
// the most that DHCP can do, in which bbolt takes them.
const segmentSize = 4 << 20

// segment is one file of the lease journal. It is made once with its full size, all of it written: what is written
// into it later changes no metadata of the file system, so that a sync is that of the data alone.
type segment struct {
	f    blocks
	end  int    // where the next entry begins
	last uint64 // sequence of the entry before
}

// blocks is what a segment needs of its file. What was written is durable.
type blocks interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes durable what others have written.
	Sync() error
	io.Closer
}

type blockFile struct{ *os.File }

// Sync implements blocks.
func (f blockFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

func segmentPath(path string, i int) string { return fmt.Sprintf("%s.leases.%d", path, i) }

// openSegment opens an existing segment. The error wraps fs.ErrNotExist also for one that was not made whole.
func openSegment(path string, size int) (blocks, error) {
	// O_DSYNC makes each write durable before it returns, for three quarters of the CPU of a write and an fdatasync; past
	// the page cache (O_DIRECT) it would not be less.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DSYNC, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != int64(size) {
		return nil, errors.Join(f.Close(), err, fs.ErrNotExist)
	}
	return blockFile{f}, nil
}

// makeSegment opens a segment, and makes it if it is not there.
func makeSegment(path string, size int) (blocks, error) {
	f, err := openSegment(path, size)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	part := path + ".new"
	if err := writeZeros(part, size); err != nil {
		return nil, errors.Join(err, os.Remove(part))
	}
	if err := errors.Join(os.Rename(part, path), syncDir(filepath.Dir(path))); err != nil {
		return nil, err
	}
	return openSegment(path, size)
}

func writeZeros(path string, size int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// First, so that a full disk is noticed before it is fuller still. Not every file system can.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); errors.Is(err, unix.ENOSPC) {
		return &fs.PathError{Op: "fallocate", Path: path, Err: err}
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	return f.Sync()
}

// write makes b durable at the end of the segment. After an error, erased tells whether it is certain that nobody
// will ever read it.
func (s *segment) write(b []byte) (erased bool, err error) {
	if _, err = s.f.WriteAt(b, int64(s.end)); err == nil {
		return false, nil
	}
	_, undo := s.f.WriteAt(make([]byte, entryHead), int64(s.end))
	return undo == nil, err
}
