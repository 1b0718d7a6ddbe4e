package images

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"strings"
)

// sumTree fills in the digests of the directories of entries, which are in a manifest's order and whole, and
// gives that of all.
func sumTree(entries []entry) string {
	h := sha256.New()
	sumLevel(entries, 0, "", h)
	return digestOf(h)
}

// sumLevel writes the lines of what is directly in dir to h, from entry i on, and gives the entry behind them.
func sumLevel(entries []entry, i int, dir string, h hash.Hash) int {
	var line []byte
	for i < len(entries) && (dir == "" || within(entries[i].path, dir)) {
		e := &entries[i]
		i++
		if e.kind == 'd' {
			inner := sha256.New()
			i = sumLevel(entries, i, e.path, inner)
			inner.Sum(e.sum[:0])
		}
		line = append(e.appendTo(line[:0]), '\n')
		h.Write(line)
	}
	return i
}

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// merkleCheck recomputes the digests of a manifest while its lines come by, with memory for one path only.
type merkleCheck struct {
	top   hash.Hash
	open  []merkleDir // the directories that the last line is in, outermost first
	last  string      // path of the last line
	wrong []string    // directories whose digest is not that of their lines
}

// merkleDir is a directory whose lines come by.
type merkleDir struct {
	path string
	want [sha256.Size]byte
	h    hash.Hash
}

func newMerkleCheck() *merkleCheck { return &merkleCheck{top: sha256.New()} }

// add takes the next entry and its line. The error wraps fs.ErrInvalid when it may not come here.
func (m *merkleCheck) add(e *entry, line string) error {
	if m.last != "" && comparePaths(m.last, e.path) >= 0 {
		return fmt.Errorf("%q after %q: %w", e.path, m.last, fs.ErrInvalid)
	}
	m.last = e.path
	m.leave(e.path)
	h, parent := m.top, ""
	if n := len(m.open); n > 0 {
		h, parent = m.open[n-1].h, m.open[n-1].path
	}
	if dir := e.path[:max(0, strings.LastIndexByte(e.path, '/'))]; dir != parent {
		return fmt.Errorf("%q without its directory: %w", e.path, fs.ErrInvalid)
	}
	h.Write([]byte(line))
	h.Write([]byte{'\n'})
	if e.kind == 'd' {
		m.open = append(m.open, merkleDir{e.path, e.sum, sha256.New()})
	}
	return nil
}

// leave closes the directories that path is not in; all for the empty path.
func (m *merkleCheck) leave(path string) {
	for n := len(m.open); n > 0 && !within(path, m.open[n-1].path); n-- {
		d := m.open[n-1]
		if [sha256.Size]byte(d.h.Sum(nil)) != d.want {
			m.wrong = append(m.wrong, d.path)
		}
		m.open = m.open[:n-1]
	}
}

// digest gives the digest of all lines. The error tells directories whose lines are not those that they were
// digested with, and wraps fs.ErrInvalid.
func (m *merkleCheck) digest() (string, error) {
	m.leave("")
	var err error
	for _, w := range m.wrong {
		err = errors.Join(err, fmt.Errorf("%q has not the digest of its lines: %w", w, fs.ErrInvalid))
	}
	return digestOf(m.top), err
}
