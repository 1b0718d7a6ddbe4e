package serve

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"muster/httpboot/agent/pair"
	"muster/roles"
)

var copyMAC = roles.MAC{2, 0, 0, 0, 0, 1}

func newJob(t *testing.T, kind string) (*copies, *copyJob) {
	t.Helper()
	c := &copies{}
	j, err := c.begin("storage", roles.HalfView{Slot: "storage-01", Node: copyMAC}, pair.Copy{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return c, j
}

// TestCopies: an order is told to its half alone, one at a time, and what comes without one finds nobody.
func TestCopies(t *testing.T) {
	c, j := newJob(t, pair.CopyBackup)
	if o := c.order("storage", copyMAC); o == nil || o.ID == "" || o.Kind != pair.CopyBackup {
		t.Errorf("the order is %+v", o)
	}
	if o := c.order("storage", roles.MAC{9}); o != nil || c.order("other", copyMAC) != nil {
		t.Errorf("another machine is told %+v", o)
	}
	if _, err := c.begin("storage", roles.HalfView{}, pair.Copy{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two at a time: %v", err)
	}
	for name, ask := range map[string]func() error{
		"another id": func() error { return say(t, c, "storage", copyMAC, pair.CopyPiece{ID: "x", Data: []byte("x")}) },
		"another machine": func() error {
			return say(t, c, "storage", roles.MAC{9}, pair.CopyPiece{ID: j.order.ID, Data: []byte("x")})
		},
		"another pair": func() error { return say(t, c, "other", copyMAC, pair.CopyPiece{ID: j.order.ID, Data: []byte("x")}) },
	} {
		if err := ask(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.end("storage", j)
	if err := say(t, c, "storage", copyMAC, pair.CopyPiece{ID: j.order.ID, Done: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody waits: %v", err)
	}
	if c.order("storage", copyMAC) != nil {
		t.Error("an order outlives who waits")
	}
}

func say(t *testing.T, c *copies, pool string, node roles.MAC, p pair.CopyPiece) error {
	t.Helper()
	_, err := c.word(t.Context(), pool, node, p)
	return err
}

// TestCopyPiecesIn: every piece counts once, also one whose answer was lost, and none is left out.
func TestCopyPiecesIn(t *testing.T) {
	c, j := newJob(t, pair.CopyBackup)
	var got bytes.Buffer
	took := make(chan struct{})
	go func() { // ends with the job's last word
		defer close(took)
		for {
			select {
			case p := <-j.pieces:
				got.Write(p.Data)
			case <-j.done:
				return
			}
		}
	}()
	piece := func(at int64, text string) error {
		return say(t, c, "storage", copyMAC, pair.CopyPiece{ID: j.order.ID, Offset: at, Data: []byte(text)})
	}
	for _, p := range []struct {
		at   int64
		text string
		ok   bool
	}{{0, "abc", true}, {0, "abc", true}, {3, "de", true}, {6, "x", false}, {0, "abc", false}, {3, "de", true}, {5, "f", true}, {6, "", false}} {
		if err := piece(p.at, p.text); (err == nil) != p.ok || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q at %d: %v", p.text, p.at, err)
		}
	}
	for range 2 { // it may be said again
		if err := say(t, c, "storage", copyMAC, pair.CopyPiece{ID: j.order.ID, Done: true, Note: "good"}); err != nil {
			t.Error(err)
		}
	}
	<-took
	if got.String() != "abcdef" || j.note() != "good" {
		t.Errorf("%q, %q", &got, j.note())
	}
}

// TestCopyPiecesOut: a half that asks again gets the same.
func TestCopyPiecesOut(t *testing.T) {
	c, j := newJob(t, pair.CopyRestore)
	go func() { // ends with the second piece, which is asked for
		j.pieces <- pair.CopyPiece{Data: []byte("abc")}
		j.pieces <- pair.CopyPiece{Data: []byte("d"), End: true}
	}()
	for _, p := range []struct {
		at   int64
		want string
	}{{0, "abc"}, {0, "abc"}, {3, "d"}, {3, "d"}} {
		got, err := c.word(t.Context(), "storage", copyMAC, pair.CopyPiece{ID: j.order.ID, Offset: p.at})
		if err != nil || string(got.Data) != p.want || got.End != (p.want == "d") {
			t.Errorf("at %d: %+v, %v", p.at, got, err)
		}
	}
	if _, err := c.word(t.Context(), "storage", copyMAC, pair.CopyPiece{ID: j.order.ID, Offset: 100}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestCopyPieceWaits: one that nobody takes yet is to be brought again, and is not lost.
func TestCopyPieceWaits(t *testing.T) {
	c, j := newJob(t, pair.CopyBackup)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := pair.CopyPiece{ID: j.order.ID, Data: []byte("abc")}
	if _, err := c.word(ctx, "storage", copyMAC, p); !errors.Is(err, fs.ErrExist) {
		t.Errorf("nobody takes it: %v", err)
	}
	got := make(chan pair.CopyPiece, 1)
	go func() { got <- <-j.pieces }() // ends with the piece
	if err := say(t, c, "storage", copyMAC, p); err != nil || string((<-got).Data) != "abc" {
		t.Errorf("%v", err)
	}
}

func TestCheckCopyPaths(t *testing.T) {
	good := []pair.CopyPath{{From: "volumes/www", To: "volumes/www"}, {From: "state/web-01", To: "state/web-02"}}
	if err := checkCopyPaths(good); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]pair.CopyPath{
		nil,
		{{From: "volumes/www", To: "images/www"}},
		{{From: "volumes/www", To: "volumes/.hidden"}},
		{{From: "volumes/www", To: "volumes/../x"}},
		{{From: "volumes", To: "volumes/www"}},
		{{From: "volumes/www", To: "volumes/a"}, {From: "volumes/www", To: "volumes/b"}},
		{{From: "volumes/a", To: "volumes/www"}, {From: "volumes/b", To: "volumes/www"}},
	} {
		if err := checkCopyPaths(bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestMounts(t *testing.T) {
	u := pairUser{role: roles.Role{Volumes: []roles.VolumeMount{{Name: "www"}}, State: []string{"/var/log"}}}
	slot := roles.Slot{Name: "web-01"}
	for path, want := range map[string]bool{"volumes/www": true, "volumes/other": false, "state/web-01": true, "state/web-02": false} {
		if got := u.mounts(slot, path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if (pairUser{}).mounts(slot, "state/web-01") {
		t.Error("a role without state mounts some")
	}
}
