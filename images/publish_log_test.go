package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLogs(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	if _, err := c.Log(Ref{Name: "web"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Log of nothing = %v", err)
	}
	if _, err := c.Log(Ref{Name: "../web"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Log(../web) = %v", err)
	}
	build := func(n int, succeed bool) Image {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(c.Dir, "web"), 0o755))
		log, err := c.newLog("web")
		must(t, err)
		defer log.Close()
		fmt.Fprintln(log, "build", n)
		if !succeed {
			return Image{}
		}
		img := publishNext(t, c, "web", func(tree string) { must(t, keepLog(log, filepath.Dir(tree))) })
		fmt.Fprintln(log, "said after it was published")
		return img
	}
	build(1, false)
	one := build(2, true)
	build(3, false)
	read := func(ref Ref) string {
		t.Helper()
		path, err := c.Log(ref)
		must(t, err)
		b, err := os.ReadFile(path)
		must(t, err)
		return string(b)
	}
	if got := read(one.Ref); got != "build 2\nsaid after it was published\n" {
		t.Errorf("the log of %s is %q", one.Ref, got)
	}
	if got := read(Ref{Name: "web"}); got != "build 3\n" {
		t.Errorf("the latest log is %q", got)
	}
	if one.Ref.Version != 1 {
		t.Errorf("the first version is %s: a build that failed used up a number", one.Ref)
	}
	for n := range 2 * logsKept {
		build(4+n, false)
	}
	if logs, err := c.logs("web"); err != nil || len(logs) != logsKept || logs[logsKept-1] != 3+2*logsKept {
		t.Errorf("logs %v, %v", logs, err)
	}
	// A version keeps its own, and is none the worse for it.
	if got := read(one.Ref); got != "build 2\nsaid after it was published\n" {
		t.Errorf("then the log of %s is %q", one.Ref, got)
	}
	if problems, err := c.Verify(t.Context(), one.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	must(t, os.Remove(filepath.Join(one.Dir, LogFile)))
	if _, err := c.Log(one.Ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Log without one = %v", err)
	}
}
