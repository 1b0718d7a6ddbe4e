package pair

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
)

// An archive is a tar (POSIX pax: owners as numbers, extended attributes, ACLs, holes) in Zstandard (RFC 8878). It ends
// with a skippable frame (§3.1.2), which zstd and tar pass over, with the SHA-256 of all that comes before. That is
// written last, when everything has been read and the snapshot still was one: an archive without it is not whole.
const (
	sealMagic = 0x184D2A5B
	sealText  = "muster backup, SHA-256 "
	sealSize  = 8 + len(sealText) + 2*sha256.Size + 1
)

// Sealer passes an archive on, and ends it with its seal.
type Sealer struct {
	w   io.Writer
	sum hash.Hash
}

// NewSealer makes a Sealer that writes to w.
func NewSealer(w io.Writer) *Sealer { return &Sealer{w, sha256.New()} }

// Write implements io.Writer.
func (s *Sealer) Write(b []byte) (int, error) {
	s.sum.Write(b)
	return s.w.Write(b)
}

// Seal writes the seal: nothing may follow.
func (s *Sealer) Seal() error {
	_, err := s.w.Write(seal(s.sum))
	return err
}

func seal(sum hash.Hash) []byte {
	b := binary.LittleEndian.AppendUint32(nil, sealMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(sealSize-8))
	b = append(b, sealText...)
	return append(b, hex.EncodeToString(sum.Sum(nil))+"\n"...)
}

// Unsealer reads an archive, and at its end checks the seal: then the error wraps fs.ErrInvalid if it is not that of
// what was read.
type Unsealer struct {
	r    io.Reader
	sum  hash.Hash
	last []byte // what was read last, up to the size of a seal
	// fault is what was wrong with the seal.
	fault error
}

// NewUnsealer makes an Unsealer that reads from r.
func NewUnsealer(r io.Reader) *Unsealer { return &Unsealer{r: r, sum: sha256.New()} }

// Read implements io.Reader.
func (u *Unsealer) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	u.last = append(u.last, b[:n]...)
	if over := len(u.last) - sealSize; over > 0 {
		u.sum.Write(u.last[:over])
		u.last = append(u.last[:0], u.last[over:]...)
	}
	if err == io.EOF && !bytes.Equal(u.last, seal(u.sum)) {
		u.fault = fmt.Errorf("it is no whole backup: its end has no digest, or not that of what comes before: %w", fs.ErrInvalid)
		return n, u.fault
	}
	return n, err
}
