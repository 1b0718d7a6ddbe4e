package images

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What mmdebstrap 1.3 --verbose prints, shortened.
const aptOutput = `I: running apt-get update...
Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://deb.debian.org/debian bookworm/main amd64 gcc-12-base amd64 12.2.0-14 [37.5 kB]
Get:2 http://deb.debian.org/debian bookworm/main amd64 nginx-light amd64 1.22 [4 kB]
I: extracting archives...
I: installing essential packages...
Unpacking gcc-12-base:amd64 (12.2.0-14) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Need to get 4,096 B/5 kB of archives.
Get:1 http://deb.debian.org/debian bookworm/main amd64 nginx-light amd64 1.22 [4 kB]
Unpacking nginx-light (1.22) ...
Setting up nginx-light (1.22) ...
`

func TestProgressFollowsTheOutput(t *testing.T) {
	type step struct {
		Stage   Stage
		Percent int
		Message string
	}
	var got []step
	p := newProgress(func(p Progress) { got = append(got, step{p.Stage, p.Percent, p.Message}) })
	w := &lineWriter{w: io.Discard, fn: p.line}
	// In pieces, as a pipe delivers them.
	for chunk := range strings.SplitSeq(aptOutput, "a") {
		_, _ = w.Write([]byte(chunk + "a"))
	}
	want := []step{
		{StageDownload, 3, "downloading packages with apt"},
		{StageDownload, 9, "downloading gcc-12-base"},
		{StageDownload, 15, "downloading nginx-light"},
		{StageBase, 15, "extracting archives"},
		{StageBase, 21, "unpacking gcc-12-base"},
		{StagePackages, 40, "installing remaining packages inside the chroot"},
		{StagePackages, 56, "downloading nginx-light"},
		{StagePackages, 72, "unpacking nginx-light"},
		{StagePackages, 88, "setting up nginx-light"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestProgressEstimatesTheRest(t *testing.T) {
	var last Progress
	p := newProgress(func(p Progress) { last = p })
	at := func(seconds int) {
		p.now = func() time.Time { return p.started.Add(time.Duration(seconds) * time.Second) }
	}
	at(10)
	p.enter(StageDownload, "")
	if last.Remaining != 0 {
		t.Errorf("at %d %% it estimates %s already", last.Percent, last.Remaining)
	}
	// How long the download took says nothing of the rest: packages may have been in the cache.
	at(100)
	p.enter(StageBase, "")
	if last.Remaining != 0 {
		t.Errorf("before anything was unpacked it estimates %s", last.Remaining)
	}
	at(125)
	p.enter(StagePackages, "")
	if last.Remaining != 60*time.Second {
		t.Errorf("25 s for 25 %% leave %s for 60 %%, want 1m0s", last.Remaining)
	}
}

func TestLineWriterKeepsErrorsAndPassesEverythingOn(t *testing.T) {
	var log bytes.Buffer
	w := &lineWriter{w: &log, fn: func(string) {}}
	text := "I: fine\nE: Unable to locate package nginx-lite\nprogress 1%\rprogress 2%\r\nE: apt-get failed\n" + strings.Repeat("x", 2*maxLine)
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if log.String() != text {
		t.Error("the log differs from what was written")
	}
	if d := cmp.Diff([]string{"Unable to locate package nginx-lite", "apt-get failed"}, w.errs); d != "" {
		t.Error(d)
	}
	if len(w.rest) > maxLine {
		t.Errorf("it keeps %d bytes of an endless line", len(w.rest))
	}
}
