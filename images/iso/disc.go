package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Of ECMA-119: the unit of everything, and where the first volume descriptor is.
const (
	sector     = 2048
	descriptor = 16 * sector
)

// disc is an open ISO.
type disc struct {
	f    *os.File
	size int64
	fsys *iso9660.FileSystem
	// unread is why a directory could not be listed.
	unread error
}

// entry is one file of a disc.
type entry struct {
	path         string
	offset, size int64
}

// open checks that a file is a whole ISO, and opens it.
func open(name string) (d *disc, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is told already
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("want an ISO, a file: %w", fs.ErrInvalid)
	}
	head := make([]byte, sector)
	if _, err := f.ReadAt(head, descriptor); err != nil && err != io.EOF {
		return nil, err
	}
	if string(head[1:6]) != "CD001" || head[0] != 1 {
		return nil, fmt.Errorf("it is not an ISO 9660 image: %w", fs.ErrInvalid)
	}
	// The volume's size in the primary descriptor (ECMA-119 8.4.8). A boot catalogue may lie behind it, less
	// never does.
	if want := int64(binary.LittleEndian.Uint32(head[80:])) * sector; info.Size() < want {
		return nil, fmt.Errorf("it is cut off: it has %d of %d bytes: fetch it again: %w", info.Size(), want, fs.ErrInvalid)
	}
	d = &disc{f: f, size: info.Size()}
	err = damaged(func() error {
		d.fsys, err = iso9660.Read(file.New(f, true), d.size, 0, sector)
		return err
	})
	return d, err
}

// damaged calls fn, which reads what others wrote: go-diskfs panics at some tables that make no sense.
func damaged(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the ISO is damaged (%v): %w", r, fs.ErrInvalid)
		}
	}()
	if err := fn(); err != nil {
		return fmt.Errorf("the ISO is damaged: %w: %w", err, fs.ErrInvalid)
	}
	return nil
}

// Close closes the file.
func (d *disc) Close() error { return d.f.Close() }

// maxDepth and maxFiles bound what is looked at: a directory may name itself as its child.
const (
	maxDepth = 8 // ECMA-119 6.8.2.1
	maxFiles = 200_000
)

// list gives every file that it finds.
func (d *disc) list() (all []entry, err error) {
	err = damaged(func() error {
		var walk func(dir string, depth int) error
		walk = func(dir string, depth int) error {
			entries, err := d.fsys.ReadDir(dir)
			if err != nil && depth > 1 {
				// go-diskfs finds no directories in directories where there is Joliet without Rock Ridge, but
				// the one that counts lies at the top.
				d.unread = err
				return nil
			}
			if err != nil {
				return err
			}
			for _, e := range entries {
				name := path.Join(dir, e.Name())
				info, err := e.Info()
				if err != nil {
					return err
				}
				if len(all) >= maxFiles {
					return fmt.Errorf("more than %d files", maxFiles)
				}
				if e.IsDir() {
					if depth < maxDepth {
						err = walk(name, depth+1)
					}
				} else if st, is := info.Sys().(*iso9660.StatT); is && info.Mode().IsRegular() {
					all = append(all, entry{name, int64(st.Location) * sector, info.Size()})
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
		return walk(".", 1)
	})
	return all, err
}

// open gives a file's content.
func (d *disc) open(e entry) *io.SectionReader { return io.NewSectionReader(d.f, e.offset, e.size) }
