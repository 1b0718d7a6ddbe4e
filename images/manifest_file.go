package images

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scanBuffer is what a worker reads at once.
const scanBuffer = 1 << 20

// scanWorker reads paths. Its buffers are its own. It works on file descriptors: a root has 20,000 files,
// and most are so small that an os.File costs more than reading them.
type scanWorker struct {
	ctx     context.Context
	scanner *scanner

	// The file at hand: the n bytes of it from offset at on are in buf.
	fd  int
	st  unix.Stat_t
	buf []byte
	at  int64
	n   int
	// other is what is compared with buf; made when it is needed. Differs says that the last time the bytes did.
	other   []byte
	differs bool
}

func newScanWorker(ctx context.Context, s *scanner) *scanWorker {
	return &scanWorker{ctx: ctx, scanner: s, buf: make([]byte, scanBuffer)}
}

// batch reads a batch of paths.
func (w *scanWorker) batch(b *batch) error {
	for i := range b.entries {
		var said *entry
		if b.said != nil {
			said = b.said[i]
		}
		if err := w.path(&b.entries[i], said); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	return nil
}

// path fills in an entry of which path and kind are known. It never follows a link.
func (w *scanWorker) path(e *entry, said *entry) error {
	full := filepath.Join(w.scanner.dir, e.path)
	if e.kind == 'f' {
		if err := w.open(full); err != nil {
			return err
		}
		defer unix.Close(w.fd)
		return w.file(e, full, said)
	}
	if err := unix.Lstat(full, &w.st); err != nil {
		return &fs.PathError{Op: "lstat", Path: full, Err: err}
	}
	e.attributes(&w.st)
	var err error
	switch e.kind {
	case 'l':
		e.target, err = os.Readlink(full)
	case 'c', 'b':
		e.major, e.minor = unix.Major(uint64(w.st.Rdev)), unix.Minor(uint64(w.st.Rdev))
	}
	if err == nil {
		e.xattrs, err = pathXattrs(full)
	}
	return err
}

func (e *entry) attributes(st *unix.Stat_t) {
	e.mode, e.uid, e.gid = st.Mode&0o7777, st.Uid, st.Gid
}

// open opens the file at hand; who calls closes w.fd.
func (w *scanWorker) open(full string) error {
	fd, err := openNoAtime(full)
	if err != nil {
		return &fs.PathError{Op: "open", Path: full, Err: err}
	}
	w.fd, w.n, w.at, w.differs = fd, 0, -1, false
	err = unix.Fstat(fd, &w.st)
	if err == nil && w.st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ESTALE // it was a file a moment ago
	}
	if err != nil {
		unix.Close(fd)
		return &fs.PathError{Op: "fstat", Path: full, Err: err}
	}
	return nil
}

// openNoAtime opens a regular file for reading; where that is allowed (to owner and root), its access time
// stays, because writing 20,000 of them back costs more than reading the files.
func openNoAtime(path string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Open(path, flags, 0)
	}
	return fd, err
}

// file reads the file at hand, or shares it with one that was digested before.
func (w *scanWorker) file(e *entry, full string, said *entry) error {
	e.attributes(&w.st)
	var err error
	if e.xattrs, err = fileXattrs(w.fd, full); err != nil {
		return err
	}
	e.size = w.st.Size
	s := w.scanner.sharer
	if s != nil && s.offer(w, e, said) {
		return nil
	}
	if err := w.sum(e); err != nil {
		return &fs.PathError{Op: "read", Path: full, Err: err}
	}
	if s != nil {
		s.digested(w, e, said)
	}
	return nil
}

// sum digests the file at hand.
func (w *scanWorker) sum(e *entry) error {
	if err := w.load(0); err != nil {
		return err
	}
	if int64(w.n) >= w.st.Size {
		e.size, e.sum = int64(w.n), sha256.Sum256(w.buf[:w.n])
		return nil
	}
	h := sha256.New()
	e.size = 0
	for w.n > 0 {
		h.Write(w.buf[:w.n])
		e.size += int64(w.n)
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.load(e.size); err != nil {
			return err
		}
	}
	h.Sum(e.sum[:0])
	return nil
}

// load brings the file's bytes from offset on into buf: as many as fit, or as there are.
func (w *scanWorker) load(offset int64) error {
	if w.at == offset {
		return nil
	}
	n, err := readAt(w.fd, w.buf, offset, &w.st)
	if w.at, w.n = offset, n; err != nil {
		w.at = -1 // what is in buf is not all: whoever asks again gets the error again
	}
	return err
}

// readAt reads at offset until b is full, or the file, which st describes, ends. Holes are not read: the
// kernel would fill memory with nothing.
func readAt(fd int, b []byte, offset int64, st *unix.Stat_t) (int, error) {
	if st.Blocks*512 < st.Size && offset < st.Size {
		end := min(offset+int64(len(b)), st.Size)
		data, err := unix.Seek(fd, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= end {
			n := int(end - offset)
			clear(b[:n])
			return n, nil
		}
	}
	n := 0
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], offset+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
		if m == 0 || offset+int64(n) == st.Size {
			break
		}
	}
	return n, nil
}
