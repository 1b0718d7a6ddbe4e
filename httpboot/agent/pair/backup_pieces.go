package pair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Times of a copy's words with the boot server. One that has no use for a piece yet says so within pieceTime; when
// nothing goes on for pieceLimit, whoever wants the copy is taken to be gone.
const (
	pieceTime  = 40 * time.Second
	pieceLimit = 3 * time.Minute
	piecePause = 500 * time.Millisecond
)

// pieces is a copy's way to the boot server that ordered it.
type pieces struct {
	ctx    context.Context
	server Server
	id     string
	offset int64
	// buf is what is to be sent, or what came and has not been read.
	buf []byte
	end bool
	err error
}

// say says one word until it is heard. What the server says no to for good ends the copy.
func (p *pieces) say(out CopyPiece) (in CopyPiece, err error) {
	out.ID = p.id
	for begin := time.Now(); ; {
		err = p.server.Call(p.ctx, pieceTime, OpCopy, out, &in)
		switch {
		case err == nil:
			return in, nil
		case p.ctx.Err() != nil:
			return in, context.Cause(p.ctx)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrInvalid):
			return in, fmt.Errorf("nobody waits for it any more: %w", err)
		case time.Since(begin) > pieceLimit:
			return in, fmt.Errorf("nothing goes on: %w", err)
		}
		if pause(p.ctx, piecePause) != nil {
			return in, context.Cause(p.ctx)
		}
	}
}

// Write implements io.Writer: it sends whole pieces.
func (p *pieces) Write(b []byte) (int, error) {
	n := 0
	for p.err == nil && n < len(b) {
		take := min(len(b)-n, CopyPieceSize-len(p.buf))
		p.buf = append(p.buf, b[n:n+take]...)
		n += take
		if len(p.buf) == CopyPieceSize {
			p.flush()
		}
	}
	return n, p.err
}

// flush sends what is left.
func (p *pieces) flush() error {
	if p.err == nil && len(p.buf) > 0 {
		_, p.err = p.say(CopyPiece{Offset: p.offset, Data: p.buf})
		p.offset += int64(len(p.buf))
		p.buf = p.buf[:0]
	}
	return p.err
}

// Read implements io.Reader: it asks for pieces.
func (p *pieces) Read(b []byte) (int, error) {
	for len(p.buf) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.end {
			return 0, io.EOF
		}
		in, err := p.say(CopyPiece{Offset: p.offset})
		p.buf, p.end, p.err = in.Data, in.End, err
		p.offset += int64(len(in.Data))
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n, nil
}
