package tftpd

import (
	"bufio"
	"io"
)

// netascii turns lines ended by LF into those of RFC 764, as RFC 1350 §1 wants them: LF becomes CR LF,
// and CR, which would be misread, CR NUL.
type netascii struct {
	r *bufio.Reader
	// owed is the second byte of a pair whose first one filled the caller's buffer; have says
	// that there is one.
	owed byte
	have bool
}

func newNetascii(r io.Reader) *netascii { return &netascii{r: bufio.NewReader(r)} }

// Read implements io.Reader.
func (a *netascii) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if a.have {
			p[n], a.have = a.owed, false
			n++
			continue
		}
		c, err := a.r.ReadByte()
		if err != nil {
			return n, err
		}
		switch c {
		case '\n':
			c, a.owed, a.have = '\r', '\n', true
		case '\r':
			a.owed, a.have = 0, true
		}
		p[n] = c
		n++
	}
	return n, nil
}
