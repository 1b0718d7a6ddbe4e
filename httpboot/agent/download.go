package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// download loads a sealed file chunk by chunk. A chunk gets into file only when its sum is right; so what is
// there can be kept, whatever happens to the rest.
type download struct {
	client *client
	path   string
	seal   *Seal
	file   *os.File
	// progress is told the bytes that are there after each chunk. fault is told what went wrong, and when the
	// next try is.
	progress func(bytes int64)
	fault    func(err error, again time.Duration)

	done int // chunks that are in file
	buf  []byte
	// missed counts the tries since the last good chunk, denied those of them in which a server answered with
	// something else than what was sealed.
	missed, denied int
}

// denials is how many times each server may give the wrong bytes, or refuse, in a row.
const denials = 3

// run loads what is missing. A server that does not answer, breaks off or stalls is asked again for ever, in
// turn with the others; one that answers wrongly only denials times, since the boot spec may be what is wrong.
func (d *download) run(ctx context.Context) error {
	d.buf = make([]byte, min(d.seal.Chunk, d.seal.Size))
	b := backoff{min: 500 * time.Millisecond, max: 15 * time.Second}
	for {
		before := d.done
		err := d.stream(ctx, d.client.server())
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = fmt.Errorf("%s: %w", d.client.server(), err)
		if d.done > before {
			d.missed, d.denied = 0, 0
			b.reset()
		}
		d.missed++
		var no *denial
		if errors.As(err, &no) {
			d.denied++
		}
		if d.denied >= denials*len(d.client.servers) {
			return err
		}
		d.client.next()
		// The first try at each server follows at once.
		var again time.Duration
		if d.missed >= len(d.client.servers) {
			again = b.step()
		}
		d.fault(err, again)
		if err := sleep(ctx, again); err != nil {
			return err
		}
	}
}

// denial is an answer that was not what was sealed: another try is of little use until something changes.
type denial struct{ error }

func (d *denial) Unwrap() error { return d.error }

func denied(format string, args ...any) error { return &denial{fmt.Errorf(format, args...)} }

// stream asks one server for the rest and takes it, until a chunk is not what it should be or does not come
// in time.
func (d *download) stream(ctx context.Context, server string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(d.patience(), func() { cancel(errStalled) })
	defer timer.Stop()
	err := d.take(ctx, server, func() { timer.Reset(d.patience()) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

var errStalled = errors.New("it stalls")

// patience is the time for one chunk. It doubles from try to try: when a rack starts, all of its machines share
// the server's line, and a chunk that is given up comes over it twice.
func (d *download) patience() time.Duration {
	const slowest = 64 << 10 // bytes a second that are worth waiting for
	t := 10*time.Second + time.Duration(len(d.buf))*time.Second/slowest
	return min(t<<min(d.missed, 6), 10*time.Minute)
}

func (d *download) take(ctx context.Context, server string, gotChunk func()) error {
	offset := int64(d.done) * d.seal.Chunk
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+d.path, nil)
	if err != nil {
		return err
	}
	want := http.StatusOK
	if offset > 0 {
		want = http.StatusPartialContent
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := d.client.http.Do(req)
	if err != nil {
		return plain(err)
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		switch err := statusError(res.StatusCode, b); res.StatusCode / 100 {
		case 5:
			return err
		case 4:
			return &denial{err}
		}
		return denied("status %d to a request from byte %d on", res.StatusCode, offset)
	}
	from := fmt.Sprintf("bytes %d-%d/%d", offset, d.seal.Size-1, d.seal.Size)
	if got := res.Header.Get("Content-Range"); offset > 0 && got != from {
		return denied("it sends %q, %s was sealed", got, from)
	}
	if res.ContentLength >= 0 && res.ContentLength != d.seal.Size-offset {
		return denied("it has %d bytes, %d are sealed", offset+res.ContentLength, d.seal.Size)
	}
	for d.done < len(d.seal.Sums) {
		if err := d.chunk(res.Body); err != nil {
			return err
		}
		gotChunk()
	}
	return nil
}

// chunk reads, verifies and keeps the next chunk.
func (d *download) chunk(r io.Reader) error {
	at := int64(d.done) * d.seal.Chunk
	buf := d.buf[:min(d.seal.Chunk, d.seal.Size-at)]
	sum := sha256.New()
	for rest := buf; len(rest) > 0; {
		// In pieces, which are in the processor's cache when the sum comes by; meanwhile the next ones arrive.
		n, err := io.ReadFull(r, rest[:min(len(rest), 128<<10)])
		if err != nil {
			return plain(err)
		}
		sum.Write(rest[:n])
		rest = rest[n:]
	}
	if hex.EncodeToString(sum.Sum(nil)) != strings.ToLower(d.seal.Sums[d.done]) {
		return denied("chunk %d of %d, from byte %d on, is not what was sealed", d.done+1, len(d.seal.Sums), at)
	}
	if _, err := d.file.WriteAt(buf, at); err != nil {
		return err
	}
	d.done++
	d.progress(at + int64(len(buf)))
	return nil
}
