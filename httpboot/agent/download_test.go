package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// squash is some bytes, and their seal in chunks of 100.
func squash(n int) ([]byte, *Seal) {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	s := &Seal{Ref: "web:7", Digest: "sha256:1", Size: int64(n), Chunk: 100}
	for c := range slices.Chunk(b, 100) {
		sum := sha256.Sum256(c)
		s.Sums = append(s.Sums, hex.EncodeToString(sum[:]))
	}
	return b, s
}

// fileServers are boot servers that send content by ranges, and do not always do what they should.
type fileServers struct {
	content []byte
	// spoil sees each answer before it goes out, with how many were asked for before.
	spoil func(n int, host string, res *http.Response, body []byte)
	n     int
	// ranges are what was asked for: "one 300-".
	ranges []string
}

func (s *fileServers) RoundTrip(r *http.Request) (*http.Response, error) {
	from := 0
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r}
	if v := r.Header.Get("Range"); v != "" {
		if _, err := fmt.Sscanf(v, "bytes=%d-", &from); err != nil {
			return nil, err
		}
		res.StatusCode = 206
		res.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	}
	s.ranges = append(s.ranges, fmt.Sprintf("%s %d-", r.URL.Host, from))
	body := bytes.Clone(s.content[from:])
	res.ContentLength = int64(len(body))
	s.n++
	if s.spoil != nil {
		s.spoil(s.n-1, r.URL.Host, res, body)
	}
	if res.StatusCode == 0 {
		return nil, errBusy
	}
	if res.Body == nil {
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	return res, nil
}

// stalling is a body that ends in a silence until the client gives up.
func stalling(ctx context.Context, b []byte) io.ReadCloser {
	r, w := io.Pipe()
	go func() { // ends with the request
		w.Write(b)
		<-ctx.Done()
		w.CloseWithError(ctx.Err())
	}()
	return r
}

// load downloads content and fails the test unless the file has it, and nothing else was ever in it.
func load(t *testing.T, s *fileServers, seal *Seal) (faults []string, err error) {
	t.Helper()
	file, ferr := os.Create(filepath.Join(t.TempDir(), "f"))
	if ferr != nil {
		t.Fatal(ferr)
	}
	defer file.Close()
	c := &client{http: &http.Client{Transport: s}, servers: []string{"http://one", "http://two"}}
	right := s.content
	last := int64(0)
	d := &download{client: c, path: "/x", seal: seal, file: file,
		progress: func(n int64) { last = n },
		fault:    func(err error, _ time.Duration) { faults = append(faults, err.Error()) },
	}
	err = d.run(t.Context())
	got, _ := os.ReadFile(file.Name())
	if int64(len(got)) != last || !bytes.HasPrefix(right, got) || (err == nil) != (len(got) == len(right)) {
		t.Errorf("%d bytes of %d are there, %d were said to be (%v)", len(got), len(right), last, err)
	}
	return faults, err
}

func TestDownload(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil  func(n int, host string, res *http.Response, body []byte)
		ranges []string
		fault  string
	}{
		"all is well": {nil, []string{"one 0-"}, ""},
		"one lies once": {func(n int, _ string, _ *http.Response, body []byte) {
			if n == 0 {
				body[350] ^= 1
			}
		}, []string{"one 0-", "two 300-"}, "http://one: chunk 4 of 11, from byte 300 on, is not what was sealed"},
		"one lies always": {func(_ int, host string, _ *http.Response, body []byte) {
			if host == "one" {
				body[0] ^= 0x80
			}
		}, []string{"one 0-", "two 0-"}, "chunk 1 of 11"},
		"two is a broken server": {func(n int, host string, res *http.Response, body []byte) {
			switch {
			case n == 0: // so that two is asked at all
				body[1049] ^= 1
			case host == "two":
				res.StatusCode = 500
			}
		}, []string{"one 0-", "two 1000-", "one 1000-"}, "http://two: status 500: "},
		"cut in a chunk": {func(n int, _ string, res *http.Response, body []byte) {
			if n < 2 {
				res.Body = io.NopCloser(bytes.NewReader(body[:250]))
			}
		}, []string{"one 0-", "two 200-", "one 400-"}, "unexpected EOF"},
		"cut between chunks": {func(n int, _ string, res *http.Response, body []byte) {
			if n == 0 {
				res.Body = io.NopCloser(bytes.NewReader(body[:500]))
			}
		}, []string{"one 0-", "two 500-"}, "EOF"},
		"stalls": {func(n int, _ string, res *http.Response, body []byte) {
			if n < 3 {
				res.Body = stalling(res.Request.Context(), body[:199])
			}
		}, []string{"one 0-", "two 100-", "one 200-", "two 300-"}, "http://one: it stalls"},
		"dies and comes back": {func(n int, _ string, res *http.Response, body []byte) {
			if n < 40 {
				res.StatusCode = 0
			}
		}, nil, "http://two: busy"},
		"another file": {func(n int, _ string, res *http.Response, body []byte) {
			if n == 0 {
				res.ContentLength = 77
			}
		}, []string{"one 0-", "two 0-"}, "it has 77 bytes, 1050 are sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content, seal := squash(1050)
				s := &fileServers{content: content, spoil: tc.spoil}
				start := time.Now()
				faults, err := load(t, s, seal)
				if err != nil {
					t.Fatal(err)
				}
				if tc.ranges != nil && strings.Join(s.ranges, " ") != strings.Join(tc.ranges, " ") {
					t.Errorf("asked for %q, want %q", s.ranges, tc.ranges)
				}
				if all := strings.Join(faults, "\n"); !strings.Contains(all, tc.fault) || (all == "") != (tc.fault == "") {
					t.Errorf("faults are %q, want %q", faults, tc.fault)
				}
				if took := time.Since(start); took > 10*time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Whichever byte is flipped on its way, it is found, and the file is whole with the next server's.
func TestEveryFlippedByte(t *testing.T) {
	content, seal := squash(330)
	for i := range content {
		s := &fileServers{content: content, spoil: func(n int, _ string, _ *http.Response, body []byte) {
			if n == 0 {
				body[i] ^= 1 << (i % 8)
			}
		}}
		faults, err := load(t, s, seal)
		if want := fmt.Sprintf("http://one: chunk %d of 4", i/100+1); err != nil || len(faults) != 1 || !strings.HasPrefix(faults[0], want) {
			t.Fatalf("byte %d: %v, %q, want %s", i, err, faults, want)
		}
	}
}

// second spoils the second chunk of the first answer, and all other answers with fn.
func second(fn func(*http.Response)) func(int, string, *http.Response, []byte) {
	return func(n int, _ string, res *http.Response, body []byte) {
		if n == 0 {
			body[150] ^= 1
			return
		}
		fn(res)
	}
}

// Servers that agree on something else than what was signed are not asked for ever: the spec may have changed.
func TestDownloadGivesUp(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(n int, host string, res *http.Response, body []byte)
		want  string
	}{
		"all lie":         {func(_ int, _ string, _ *http.Response, body []byte) { body[len(body)-1] ^= 1 }, "chunk 11 of 11"},
		"it was removed":  {func(_ int, _ string, res *http.Response, _ []byte) { res.StatusCode = 404 }, "the server says: "},
		"no such range":   {func(_ int, _ string, res *http.Response, _ []byte) { res.StatusCode = 416 }, "status 416"},
		"nothing":         {func(_ int, _ string, res *http.Response, _ []byte) { res.StatusCode = 204 }, "status 204"},
		"a longer one":    {func(_ int, _ string, res *http.Response, _ []byte) { res.ContentLength++ }, "it has 1051 bytes, 1050 are sealed"},
		"wrong ranges":    {second(func(res *http.Response) { res.Header.Set("Content-Range", "bytes 0-9/10") }), `it sends "bytes 0-9/10", bytes 100-1049/1050 was sealed`},
		"ranges are news": {second(func(res *http.Response) { res.StatusCode = 200 }), "status 200 to a request from byte 100 on"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content, seal := squash(1050)
				s := &fileServers{content: content, spoil: tc.spoil}
				faults, err := load(t, s, seal)
				if err == nil || !strings.Contains(err.Error(), tc.want) || len(faults) < 5 || s.n > 7 {
					t.Errorf("%v after %d tries (%q), want %s", err, s.n, faults, tc.want)
				}
			})
		})
	}
}

// A stop of the boot is one of the download.
func TestDownloadStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content, seal := squash(1050)
		ctx, cancel := context.WithCancel(t.Context())
		s := &fileServers{content: content, spoil: func(_ int, _ string, res *http.Response, body []byte) {
			res.Body = stalling(res.Request.Context(), body[:150])
			time.AfterFunc(time.Second, cancel)
		}}
		file, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		d := &download{client: &client{http: &http.Client{Transport: s}, servers: []string{"http://one"}}, path: "/x", seal: seal,
			file: file, progress: func(int64) {}, fault: func(error, time.Duration) {}}
		if err := d.run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
