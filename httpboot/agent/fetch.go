package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"
)

// Fetcher loads sealed images from the boot servers in the running system of a machine that keeps them for others.
type Fetcher struct {
	// HTTP talks to the boot servers; nil means a client with short dials and no proxy.
	HTTP *http.Client

	params Params
}

// NewFetcher reads the kernel command line, which names the boot servers and the key of seals. The error wraps
// fs.ErrInvalid when one of them is missing.
func NewFetcher(cmdline string) (*Fetcher, error) {
	p, err := ParseParams(cmdline)
	if err == nil && len(p.Key) == 0 {
		err = fmt.Errorf("agent: the kernel command line has no %s=: an image that nobody signed is not offered: %w", ParamKey, fs.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	return &Fetcher{params: p}, nil
}

// fetchFaults is how many times in a row a download may fail without any progress; a caller with other work to do
// comes again.
const fetchFaults = 3

// Fetch makes file the squashfs of the image ref as it was sealed. What is in it already is verified and kept, as after
// a download that broke off. On failure file holds what is good so far; the error wraps fs.ErrPermission when the
// seal is not signed by the key of this boot.
func (f *Fetcher) Fetch(ctx context.Context, ref string, from RAMRoot, file *os.File) error {
	h := f.HTTP
	if h == nil {
		h = httpClient()
		defer h.CloseIdleConnections()
	}
	a := &Agent{params: f.params, client: &client{http: h, servers: f.params.Servers}}
	spec := &Spec{Image: ref, RAM: &from}
	if err := checkRAM(spec); err != nil {
		return fmt.Errorf("agent: %s: %w: %w", ref, fs.ErrInvalid, err)
	}
	seal, err := a.loadSeal(ctx, spec)
	if err != nil {
		return err
	}
	if err := file.Truncate(seal.Size); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	faults := 0
	d := &download{
		client: a.client.apart(), path: a.forMe(from.Squashfs), seal: seal, file: file, done: seal.verified(ctx, file),
		progress: func(int64) { faults = 0 },
		fault: func(err error, _ time.Duration) {
			if faults++; faults >= fetchFaults*len(f.params.Servers) {
				cancel(err)
			}
		},
	}
	if d.done == len(seal.Sums) {
		return nil
	}
	if err := d.run(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			err = cause
		}
		return fmt.Errorf("load %s: %w", ref, err)
	}
	return nil
}

// verified counts the first chunks of r that are as they were sealed. It looks no further when ctx ends: who is told to
// leave a file must not be reading in it for minutes.
func (s *Seal) verified(ctx context.Context, r io.ReaderAt) int {
	buf := make([]byte, min(s.Chunk, s.Size))
	for i, want := range s.Sums {
		if ctx.Err() != nil {
			return i
		}
		at := int64(i) * s.Chunk
		part := buf[:min(s.Chunk, s.Size-at)]
		if n, err := r.ReadAt(part, at); n < len(part) && err != nil {
			return i
		}
		if sum := sha256.Sum256(part); hex.EncodeToString(sum[:]) != strings.ToLower(want) {
			return i
		}
	}
	return len(s.Sums)
}
