package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"

	"muster/images"
)

// maxLog is how much of a build's log is served, in bytes, from its end: one of Debian's is 200 KiB.
const maxLog = 4 << 20

// imageLog writes the text of a build's log, or with ?tail= its last lines. Without a version it is that of the
// latest build, which may have failed.
func (s *Server) imageLog(w http.ResponseWriter, r *http.Request) error {
	ref, err := s.ref(r)
	if err != nil {
		return err
	}
	tail := 0
	if t := r.URL.Query().Get("tail"); t != "" {
		if tail, err = strconv.Atoi(t); err != nil || tail < 1 {
			return fmt.Errorf("tail=%q is not a number of lines from 1: %w", t, fs.ErrInvalid)
		}
	}
	text, err := BuildLog(s.Images, ref, tail)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// What a package's script wrote is no page for a browser, whatever it looks like.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text)
	return nil
}

// BuildLog reads the log of a build, or its last lines where tail is not 0. Of a log that is longer than 4 MiB
// the first line says what is left out.
func BuildLog(c Images, ref images.Ref, tail int) ([]byte, error) {
	path, err := c.Log(ref)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the log of %s is gone: only those of the latest builds are kept: %w", ref, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	skip := max(info.Size()-maxLog, 0)
	// Not to the end of the file: a build that goes on writes while we read.
	text, err := io.ReadAll(io.NewSectionReader(f, skip, info.Size()-skip))
	if err != nil {
		return nil, err
	}
	if skip > 0 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
		text = append(fmt.Appendf(nil, "(the beginning is left out: the whole log is in %s)\n", path), text...)
	}
	return lastLines(text, tail), nil
}

// lastLines gives the last n lines of text; all for 0.
func lastLines(text []byte, n int) []byte {
	if n == 0 {
		return text
	}
	at := len(bytes.TrimSuffix(text, []byte("\n")))
	for ; n > 0 && at >= 0; n-- {
		at = bytes.LastIndexByte(text[:at], '\n')
	}
	return text[at+1:]
}
