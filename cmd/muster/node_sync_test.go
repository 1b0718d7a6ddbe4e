package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"muster/roles"
)

// servingWorld has web-01, whose agent lives, and has old files.
func servingWorld(t *testing.T) (w *world, n roles.Node) {
	t.Helper()
	w = newWorld(filepath.Join(t.TempDir(), "s"))
	t.Cleanup(w.close)
	err := w.serve()
	if err == nil {
		err = w.declare("pools:\n- {name: web, role: web, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}}\n")
	}
	if err == nil {
		err = w.boot("52:54:00:aa:00:01", true)
	}
	if err == nil {
		err = w.healthy()
	}
	if err == nil {
		n, err = w.reg.Node("web-01")
	}
	if err == nil {
		_, err = w.reg.Present(t.Context(), n.MAC, claimKey, "old")
	}
	if err != nil {
		t.Fatal(err)
	}
	return w, n
}

// TestSyncIsLate: a node that does not fetch its files is named, and the exit code says so.
func TestSyncIsLate(t *testing.T) {
	w, _ := servingWorld(t)
	for args, want := range map[string]struct {
		code int
		out  string
	}{
		"--timeout 20ms": {exitFailed, "web-01: has not got them within 20ms; it is still asked to\n"},
		"--timeout 0":    {exitOK, "web-01: asked; it has not got them yet\n"},
	} {
		p, out, errs := newProgram()
		code := p.run(t.Context(), strings.Fields("--socket "+w.socket+" node sync web-01 "+args))
		if code != want.code || out.String() != want.out || errs.Len() > 0 {
			t.Errorf("%s: exit code %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestSyncWaits until the node has its files, in whatever way it gets them.
func TestSyncWaits(t *testing.T) {
	for want, do := range map[string]func(*world, roles.Node) error{
		"has fetched its files": func(w *world, n roles.Node) error { return w.speak(t.Context(), n) },
		"has fetched its files, which have changed once more": func(w *world, n roles.Node) error {
			if _, err := w.reg.Present(t.Context(), n.MAC, claimKey, "newer"); err != nil {
				return err
			}
			return w.reg.Synced(t.Context(), n.MAC)
		},
		"restarts, and gets its files as it boots": func(w *world, n roles.Node) error { return w.boot(n.MAC.String(), true) },
	} {
		w, _ := servingWorld(t)
		out := new(bytes.Buffer)
		code := make(chan int, 1)
		go func() {
			p, _, _ := newProgram()
			p.stdout = out
			code <- p.run(t.Context(), []string{"--socket", w.socket, "node", "sync", "web-01"})
		}()
		for {
			rev := w.reg.Revision()
			n, err := w.reg.Node("web-01")
			if err != nil {
				t.Fatal(err)
			}
			if n.Sync {
				if err := do(w, n); err != nil {
					t.Fatal(err)
				}
				break
			}
			<-w.reg.Watch(rev)
		}
		if c := <-code; c != exitOK || out.String() != "web-01: "+want+"\n" {
			t.Errorf("exit code %d, %q, want %q", c, out, want)
		}
	}
}
