package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// imageServer has one image, and may break.
type imageServer struct {
	seal, content []byte
	broken        bool
	asked         []string
}

func (s *imageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, r.URL.Path+" "+r.Header.Get("Range"))
	switch {
	case r.URL.Path == "/seal":
		w.Write(s.seal)
	case s.broken:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(s.content)))
	}
}

func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content, seal := squash(1050)
		s := &imageServer{seal: sealed(t, signer, seal), content: content}
		line := "muster.server=http://one,http://two muster.mac=52:54:00:aa:00:01 muster.ip=10.77.0.10/24 "
		if _, err := NewFetcher(line); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("without a key: %v", err)
		}
		f, err := NewFetcher(line + ParamKey + "=" + base64.RawURLEncoding.EncodeToString(public()))
		if err != nil {
			t.Fatal(err)
		}
		f.HTTP = &http.Client{Transport: servers{"two": s}}
		from := RAMRoot{Squashfs: "/squash", Seal: "/seal", Size: 1050}
		fetch := func(file *os.File) ([]byte, error) {
			err := f.Fetch(t.Context(), "web:7", from, file)
			b, rerr := os.ReadFile(file.Name())
			if rerr != nil {
				t.Fatal(rerr)
			}
			return b, err
		}
		file, err := os.Create(t.TempDir() + "/part")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got, err := fetch(file); err != nil || string(got) != string(content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}

		// What is good stays; what is not is loaded again.
		if _, err := file.WriteAt([]byte("XXXX"), seal.Chunk+5); err != nil {
			t.Fatal(err)
		}
		s.asked = nil
		if got, err := fetch(file); err != nil || string(got) != string(content) || !strings.HasPrefix(s.asked[len(s.asked)-1], "/squash bytes=") {
			t.Errorf("%d bytes, %v, asked %q", len(got), err, s.asked)
		}
		s.asked = nil
		if _, err := fetch(file); err != nil || len(s.asked) != 1 {
			t.Errorf("whole already: %v, asked %q", err, s.asked)
		}

		// It does not hang on a server that is out of order, nor takes what nobody signed.
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		s.broken = true
		if _, err := fetch(file); err == nil || !strings.Contains(err.Error(), "web:7") {
			t.Errorf("broken: %v", err)
		}
		s.broken = false
		s.content = []byte(strings.Repeat("x", 1050))
		if got, err := fetch(file); err == nil || strings.Contains(string(got), "x") {
			t.Errorf("other bytes: %v", err)
		}
		s.content = content[:1000]
		if _, err := fetch(file); err == nil {
			t.Error("a short one was taken")
		}
		if err := f.Fetch(t.Context(), "web:8", from, file); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("the seal of another version: %v", err)
		}
		s.seal = append([]byte(nil), s.seal...)
		s.seal[10] ^= 1
		if _, err := fetch(file); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a seal that is not signed: %v", err)
		}
	})
}

// cancelling ends a context with the second read.
type cancelling struct {
	io.ReaderAt
	reads  int
	cancel func()
}

func (c *cancelling) ReadAt(b []byte, at int64) (int, error) {
	if c.reads++; c.reads == 2 {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(b, at)
}

// A machine that hands over does not wait for what is there to be verified.
func TestVerifiedEnds(t *testing.T) {
	content, seal := squash(1050)
	if n := seal.verified(t.Context(), bytes.NewReader(content)); n != len(seal.Sums) || n < 4 {
		t.Fatalf("%d chunks of %d", n, len(seal.Sums))
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &cancelling{ReaderAt: bytes.NewReader(content), cancel: cancel}
	if n := seal.verified(ctx, r); n != 2 || r.reads != 2 {
		t.Errorf("%d chunks, %d reads", n, r.reads)
	}
}
