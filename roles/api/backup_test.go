package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// fixedCopies writes an archive in parts, and keeps what it was asked.
type fixedCopies struct {
	parts []string
	err   error
	asked string
	body  string
}

func (c *fixedCopies) Backup(_ context.Context, pool string, q BackupRequest, w io.Writer) error {
	c.asked = fmt.Sprintf("%s %d %s", pool, q.Room, q.To)
	for _, p := range c.parts {
		if _, err := io.WriteString(w, p); err != nil {
			return err
		}
	}
	return c.err
}

func (c *fixedCopies) Restore(_ context.Context, pool string, q RestoreRequest, r io.Reader) (string, error) {
	c.asked = fmt.Sprintf("%s %v %v %v", pool, q.From, q.To, q.Replace)
	if c.err != nil {
		return "", c.err
	}
	b, err := io.ReadAll(r)
	c.body = string(b)
	return "good", err
}

// TestBackupPair: what fails before the archive begins has a status, what fails in it a reason behind it.
func TestBackupPair(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct {
		copies fixedCopies
		want   string
		kind   error
	}{
		"whole":   {fixedCopies{parts: []string{"one", big, "two"}}, "one" + big + "two", nil},
		"refused": {fixedCopies{err: fmt.Errorf("the pair is down: %w", fs.ErrInvalid)}, "", fs.ErrInvalid},
		"broken":  {fixedCopies{parts: []string{big}, err: errors.New("storage-02 has\ndied")}, big, errors.New("storage-02 has; died")},
	} {
		c := client(t, &Server{Rack: newRegistry(t), Copies: &tt.copies})
		var got bytes.Buffer
		err := c.BackupPair(t.Context(), "storage", BackupRequest{Room: 7 << 20, To: "vault:/a b"}, &got)
		if got.String() != tt.want || (err == nil) != (tt.kind == nil) {
			t.Errorf("%s: %d of %d bytes, %v", name, got.Len(), len(tt.want), err)
		}
		if tt.kind != nil && !errors.Is(err, tt.kind) && err.Error() != tt.kind.Error() {
			t.Errorf("%s: %v, want %v", name, err, tt.kind)
		}
		if tt.copies.asked != "storage 7340032 vault:/a b" {
			t.Errorf("%s: asked %q", name, tt.copies.asked)
		}
	}
	copies := &fixedCopies{}
	c := client(t, &Server{Rack: newRegistry(t), Copies: copies})
	for _, bad := range []BackupRequest{{To: strings.Repeat("x", maxTo+1)}, {To: "\xff"}} {
		if err := c.BackupPair(t.Context(), "storage", bad, io.Discard); !errors.Is(err, fs.ErrInvalid) || copies.asked != "" {
			t.Errorf("%.20q: %v, asked %q", bad.To, err, copies.asked)
		}
	}
	c = client(t, &Server{Rack: newRegistry(t)})
	if err := c.BackupPair(t.Context(), "storage", BackupRequest{}, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a server without: %v", err)
	}
}

// TestRestorePair: an archive may be larger than any other request, and what loses data is confirmed.
func TestRestorePair(t *testing.T) {
	archive := strings.Repeat("a", maxDeclaration+1)
	copies := &fixedCopies{}
	c := client(t, &Server{Rack: newRegistry(t), Copies: copies})
	q := RestoreRequest{From: []string{"volumes/a", "state/b"}, To: []string{"volumes/c", "state/d"}, Replace: true, Confirm: "storage"}
	done, err := c.RestorePair(t.Context(), "storage", q, strings.NewReader(archive))
	if err != nil || done.Note != "good" || len(done.To) != 2 || copies.body != archive || copies.asked != "storage [volumes/a state/b] [volumes/c state/d] true" {
		t.Errorf("%+v, %v; asked %q, %d bytes", done, err, copies.asked, len(copies.body))
	}
	copies.asked = ""
	for _, bad := range []RestoreRequest{{}, {From: []string{"volumes/a"}}, {From: []string{"volumes/a"}, To: []string{"volumes/a"}, Replace: true}} {
		if _, err := c.RestorePair(t.Context(), "storage", bad, strings.NewReader("x")); !errors.Is(err, fs.ErrInvalid) || copies.asked != "" {
			t.Errorf("%+v: %v, asked %q", bad, err, copies.asked)
		}
	}
	copies.err = fmt.Errorf("volumes/a is in use: %w", fs.ErrExist)
	sent := strings.NewReader(archive)
	if _, err := c.RestorePair(t.Context(), "storage", RestoreRequest{From: []string{"volumes/a"}, To: []string{"volumes/a"}}, sent); !errors.Is(err, fs.ErrExist) {
		t.Errorf("refused: %v", err)
	}
	if sent.Len() != len(archive) { // or the answer might be lost with the connection
		t.Errorf("%d bytes of the archive were sent in vain", len(archive)-sent.Len())
	}
}
