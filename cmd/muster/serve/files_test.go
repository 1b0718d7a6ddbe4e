package serve

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"muster/httpboot/agent"
	"muster/roles"
	"muster/roles/state"
)

// TestStrangersWriteNoLog: what a machine complains about is logged when it has said who it is.
func TestStrangersWriteNoLog(t *testing.T) {
	store := state.OpenMemory()
	defer store.Close()
	var log bytes.Buffer
	s := &server{log: slog.New(slog.NewTextHandler(&log, nil)), registry: &roles.Registry{Store: store}}
	_, err := (&director{s}).Present(t.Context(), agent.Present{
		MAC: "52:54:00:aa:00:01", Key: strings.Repeat("5a", 32), Errors: []string{"the disk burns"},
	})
	if !errors.Is(err, fs.ErrPermission) || log.Len() > 0 {
		t.Errorf("Present = %v, and the log has %q", err, log.String())
	}
}
