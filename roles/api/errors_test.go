package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"testing"
)

// TestErrorsBothWays writes each kind as the server does, and reads it as the client does.
func TestErrorsBothWays(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		is     error
	}{
		{fs.ErrNotExist, 404, fs.ErrNotExist},
		{fs.ErrExist, 409, fs.ErrExist},
		{fs.ErrInvalid, 400, fs.ErrInvalid},
		{fs.ErrPermission, 403, fs.ErrPermission},
		{errors.New("broken"), 500, nil},
	} {
		w := httptest.NewRecorder()
		writeError(w, fmt.Errorf("pool %q: %w", "web", tt.err))
		if w.Code != tt.status {
			t.Errorf("%v: status %d, want %d", tt.err, w.Code, tt.status)
		}
		got := readError(w.Result())
		for _, k := range kinds {
			if errors.Is(got, k.err) != (k.err == tt.is) {
				t.Errorf("%v: after the wire errors.Is(%v, %v) = %v", tt.err, got, k.err, errors.Is(got, k.err))
			}
		}
	}
}

func TestSentence(t *testing.T) {
	_, missing := os.Open("/no/such/file")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("pool %q does not exist: %w", "web", fs.ErrNotExist), `pool "web" does not exist`},
		{fmt.Errorf("%w: %w", fs.ErrInvalid, errors.Join(errors.New("a:1: x"), errors.New("a:2: y"))), "a:1: x\na:2: y"},
		{fmt.Errorf("a.yaml: %w: %w", fs.ErrInvalid, errors.New("x")), "a.yaml: x"},
		{errors.Join(fmt.Errorf("x: %w", fs.ErrExist), fmt.Errorf("y: %w", fs.ErrExist)), "x\ny"},
		{fmt.Errorf("rack: %w", missing), "rack: open /no/such/file: no such file or directory"},
	} {
		if got := Sentence(tt.err); got != tt.want {
			t.Errorf("Sentence(%q) = %q, want %q", tt.err, got, tt.want)
		}
	}
}
