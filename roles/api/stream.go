package api

import (
	"encoding/json"
	"net/http"
	"time"
)

// Limits of a stream.
const (
	// writeWait is how long one line may take to leave: a reader that is slower is cut off, so that it
	// cannot hold memory for ever.
	writeWait = 30 * time.Second
	// heartbeat is the pause after which an idle stream sends an empty line: it finds out that its reader
	// is gone, and keeps middleboxes from closing it.
	heartbeat = 15 * time.Second
)

// stream writes one JSON object a line (application/x-ndjson).
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	return &stream{w, http.NewResponseController(w)}
}

// line sends one object; nil is the heartbeat's empty line.
func (s *stream) line(v any) error {
	var b []byte
	if v != nil {
		var err error
		if b, err = json.Marshal(v); err != nil {
			return err
		}
	}
	// A writer without deadlines (a test's recorder) is fine: it cannot be slow either.
	_ = s.c.SetWriteDeadline(time.Now().Add(writeWait))
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return s.c.Flush()
}
