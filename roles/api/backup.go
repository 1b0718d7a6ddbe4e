package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Copies makes backups of storage pairs, and takes something back from one.
type Copies interface {
	// Backup writes an archive of a pair's volumes and state to w. An archive is whole when it has its seal.
	Backup(ctx context.Context, pool string, q BackupRequest, w io.Writer) error
	// Restore takes directories from an archive. The error wraps fs.ErrExist when one of them is in use, or not empty
	// and replace is not set.
	Restore(ctx context.Context, pool string, q RestoreRequest, r io.Reader) (note string, err error)
}

// BackupRequest says how a backup is made. It is in the query.
type BackupRequest struct {
	// Room is the memory for what is overwritten meanwhile, in bytes; 0 for what is good for that.
	Room int64
	// To is where the archive goes, for people: "backup01:/backup/storage.tar.zst". At most 500 bytes; "" for nothing said.
	To string
}

// maxTo bounds BackupRequest.To: it is kept with the pair.
const maxTo = 500

// RestoreRequest says what is restored from an archive. It is in the query: the body is the archive.
type RestoreRequest struct {
	// From and To are directories in the archive and on the pair, in pairs: volumes/www, state/web-01.
	From []string
	To   []string
	// Replace lets what is there go. Confirm is the pair's name then: that is lost.
	Replace bool
	Confirm string
}

// Restored is the answer to a restore.
type Restored struct {
	// To are the directories that are there again; Note is what the half says of it.
	To   []string `json:"to"`
	Note string   `json:"note,omitempty"`
}

// archiveWait is what one piece of an archive may take to leave. The half from which it comes gives up after three minutes;
// until the piece has left, the pair makes no other backup.
const archiveWait = 5 * time.Minute

// restorePath takes an archive of any size.
const restorePath = "/v1/storage/{pool}/restore"

// backupError is the HTTP trailer (RFC 9110 §6.5) with the reason why an archive broke off: by then the status is
// long gone.
const backupError = "Muster-Error"

func (s *Server) copies() (Copies, error) {
	if s.Copies == nil {
		return nil, fmt.Errorf("this server makes no backups: %w", fs.ErrNotExist)
	}
	return s.Copies, nil
}

// backupPair streams an archive. It lasts as long as the request does.
func (s *Server) backupPair(w http.ResponseWriter, r *http.Request) error {
	c, err := s.copies()
	if err != nil {
		return err
	}
	q := BackupRequest{To: r.URL.Query().Get("to")}
	if text := r.URL.Query().Get("room"); text != "" {
		if q.Room, err = strconv.ParseInt(text, 10, 64); err != nil || q.Room < 1 {
			return fmt.Errorf("room=%q is not a number of bytes from 1: %w", text, fs.ErrInvalid)
		}
	}
	if len(q.To) > maxTo || !utf8.ValidString(q.To) {
		return fmt.Errorf("to is no text of at most %d bytes: %w", maxTo, fs.ErrInvalid)
	}
	out := &archiveWriter{w: w}
	err = c.Backup(r.Context(), r.PathValue("pool"), q, out)
	if err == nil || !out.begun {
		return err
	}
	w.Header().Set(backupError, strings.ReplaceAll(Sentence(err), "\n", "; "))
	s.log().Warn("api: a backup broke off", "pool", r.PathValue("pool"), "err", err)
	return nil
}

// archiveWriter begins the answer with the archive's first byte, so that what fails before has a status.
type archiveWriter struct {
	w     http.ResponseWriter
	begun bool
}

func (a *archiveWriter) Write(b []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", "application/zstd")
		a.w.Header().Set("Trailer", backupError)
	}
	c := http.NewResponseController(a.w)
	_ = c.SetWriteDeadline(time.Now().Add(archiveWait)) // a test's recorder has none
	n, err := a.w.Write(b)
	if err == nil {
		err = c.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil
	}
	return n, err
}

// restorePair takes an archive.
func (s *Server) restorePair(r *http.Request) (any, error) {
	c, err := s.copies()
	if err != nil {
		return nil, err
	}
	v := r.URL.Query()
	q := RestoreRequest{From: v["from"], To: v["to"], Replace: v.Get("replace") == "true", Confirm: v.Get("confirm")}
	pool := r.PathValue("pool")
	if len(q.From) == 0 || len(q.From) != len(q.To) {
		return nil, fmt.Errorf("a from and a to are wanted for each directory: %w", fs.ErrInvalid)
	}
	if q.Replace {
		if err := confirmed(pool, q.Confirm, "what is there is lost"); err != nil {
			return nil, err
		}
	}
	note, err := c.Restore(r.Context(), pool, q, r.Body)
	return Restored{To: q.To, Note: note}, err
}

// BackupPair writes an archive of a pair to w.
func (c *Client) BackupPair(ctx context.Context, pool string, q BackupRequest, w io.Writer) error {
	v := url.Values{}
	if q.Room > 0 {
		v.Set("room", strconv.FormatInt(q.Room, 10))
	}
	if q.To != "" {
		v.Set("to", q.To)
	}
	resp, err := c.send(ctx, http.MethodPost, pairPath(pool, "/backup"), v, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	switch why := resp.Trailer.Get(backupError); {
	case ctx.Err() != nil:
		return ctx.Err()
	case why != "":
		return &Error{Status: resp.StatusCode, Message: why, Kind: kindInternal}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &unreachable{"the server on " + c.where + " went away in the middle of the archive"}
	case err != nil:
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// RestorePair has a pair take directories from the archive r.
func (c *Client) RestorePair(ctx context.Context, pool string, q RestoreRequest, r io.Reader) (Restored, error) {
	v := url.Values{"from": q.From, "to": q.To}
	if q.Replace {
		v.Set("replace", "true")
		v.Set("confirm", q.Confirm)
	}
	var out Restored
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+pairPath(pool, "/restore")+"?"+v.Encode(), io.NopCloser(r))
	if err != nil {
		return out, fmt.Errorf("api: %w", err)
	}
	req.Header.Set("Content-Type", "application/zstd")
	// A refusal comes before the archive was read: who asks first sends nothing in vain.
	req.Header.Set("Expect", "100-continue")
	resp, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return out, readError(resp)
	}
	return out, c.decode(ctx, resp, &out)
}
