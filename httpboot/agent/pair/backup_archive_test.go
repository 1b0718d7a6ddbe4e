package pair

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// late is a writer that takes its time.
type late struct{ got bytes.Buffer }

func (l *late) Write(b []byte) (int, error) {
	time.Sleep(700 * time.Millisecond)
	return l.got.Write(b)
}

// TestPipelineToSlowReader: the programs are long gone when the last of what they said is taken.
func TestPipelineToSlowReader(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 1<<13) // 128 KiB: 64 fit into a pipe, and are taken in pieces of 32
	var out late
	if err := pipeline(t.Context(), strings.NewReader(text), &out, gently("cat"), gently("cat")); err != nil {
		t.Fatal(err)
	}
	if out.got.String() != text {
		t.Errorf("%d bytes arrived of %d", out.got.Len(), len(text))
	}
}

// TestPipelineFails: the error is that of the program which failed, wherever it stands.
func TestPipelineFails(t *testing.T) {
	good, bad := gently("cat"), gently("sh", "-c", "echo the disk is full >&2; exit 3")
	for _, commands := range [][][]string{{bad, good}, {good, bad}, {good, bad, good}} {
		err := pipeline(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), io.Discard, commands...)
		if err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%v: %v", commands, err)
		}
	}
	if err := pipeline(t.Context(), strings.NewReader(""), io.Discard, good, []string{"/no/such/program"}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
}
