package images

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// errOldManifest is the error for a manifest in the form of Muster before version 2 of it.
var errOldManifest = fmt.Errorf("made by an older muster: rebuild the image: %w", fs.ErrInvalid)

// maxManifestLine bounds a line: a path and what a file system holds of extended attributes, quoted.
const maxManifestLine = 16 << 20

// manifestReader reads a manifest line by line.
type manifestReader struct {
	name string // of the file, for errors
	from io.ReadCloser
	sc   *bufio.Scanner
	line string // of the last entry
}

// openManifest begins to read. The error wraps errOldManifest for one in an older form.
func openManifest(file string) (*manifestReader, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return readManifest(f, file)
}

// readManifest is openManifest for what is open. It closes from when it fails.
func readManifest(from io.ReadCloser, name string) (*manifestReader, error) {
	r := &manifestReader{name: name, from: from, sc: bufio.NewScanner(from)}
	r.sc.Buffer(make([]byte, 64<<10), maxManifestLine)
	r.sc.Split(wholeLines)
	if err := r.header(); err != nil {
		from.Close()
		return nil, fmt.Errorf("images: %s: %w", name, err)
	}
	return r, nil
}

// wholeLines is bufio.ScanLines without its leniency for carriage returns and for a last line that is torn.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, fmt.Errorf("its last line is torn: %w", fs.ErrInvalid)
	}
	return 0, nil, nil
}

func (r *manifestReader) header() error {
	if !r.sc.Scan() {
		return errors.Join(r.sc.Err(), fmt.Errorf("empty: %w", fs.ErrInvalid))
	}
	if first := r.sc.Text(); first != manifestHeader {
		// The form before had no first line of its own, but began with the initrd's.
		if strings.HasPrefix(first, "f ") && strings.Contains(first, `"`+InitrdFile+`"`) {
			return errOldManifest
		}
		return fmt.Errorf("is not a manifest that this muster knows: it begins with %.40q, want %q: %w", first, manifestHeader, fs.ErrInvalid)
	}
	return nil
}

// next gives the next entry, or io.EOF. The line stays in r.line.
func (r *manifestReader) next() (entry, error) {
	if !r.scan() {
		return entry{}, r.end()
	}
	e, err := parseEntry(r.line)
	if err != nil {
		err = fmt.Errorf("images: %s: %w", r.name, err)
	}
	return e, err
}

// scan reads a line without taking it apart.
func (r *manifestReader) scan() bool {
	if !r.sc.Scan() {
		return false
	}
	r.line = r.sc.Text()
	return true
}

// end is why scan gave no line: io.EOF or an error.
func (r *manifestReader) end() error {
	if err := r.sc.Err(); err != nil {
		return fmt.Errorf("images: %s: %w", r.name, err)
	}
	return io.EOF
}

func (r *manifestReader) close() { r.from.Close() }

// manifestTotals sums up a manifest for an Image.
type manifestTotals struct {
	digest string // "sha256:…"
	files  int    // paths in the tree
	size   int64  // of the tree's files, in bytes
	kernel int64  // size in bytes
	initrd int64
}

func (t *manifestTotals) add(e *entry) {
	switch {
	case inTree(e.path):
		t.files++
		t.size += e.size
	case e.path == KernelFile:
		t.kernel = e.size
	case e.path == InitrdFile:
		t.initrd = e.size
	}
}

// checkManifest reads a manifest from end to end. The error wraps fs.ErrInvalid when it is not one, or when
// its digests are not those of its lines.
func checkManifest(file string) (manifestTotals, error) {
	r, err := openManifest(file)
	if err != nil {
		return manifestTotals{}, err
	}
	defer r.close()
	return r.check(func(*entry) {})
}

// check reads to the end and gives each entry to fn.
func (r *manifestReader) check(fn func(*entry)) (manifestTotals, error) {
	var t manifestTotals
	m := newMerkleCheck()
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.add(&e, r.line)
		}
		if err != nil {
			return manifestTotals{}, err
		}
		t.add(&e)
		fn(&e)
	}
	var err error
	if t.digest, err = m.digest(); err != nil {
		return t, fmt.Errorf("images: %s: %w", r.name, err)
	}
	return t, nil
}
