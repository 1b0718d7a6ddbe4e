package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/roles/api"
)

// TestShellKeepsItsImage: nobody removes a version while a shell is open in it; afterwards it goes.
func TestShellKeepsItsImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: builds make namespaces")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox: the image is made of it")
	}
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	w.dir = t.TempDir()
	t.Cleanup(w.close)
	seed := filepath.Join(w.dir, "seed")
	for _, err := range []error{
		w.catalog(), copyBusybox(filepath.Join(seed, "bin/busybox")), os.Symlink("busybox", filepath.Join(seed, "bin/sh")),
		os.Mkdir(filepath.Join(seed, "proc"), 0o755), w.serve(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		if _, err := w.build(t.Context(), "web", func(api.BuildProgress) {}); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(w.dir, "muster.yaml")

	shell, _, _ := newProgram()
	stdin, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), typed.Close() })
	shown, stdout := io.Pipe()
	shell.stdin, shell.stdout = stdin, stdout
	code := make(chan int, 1)
	go func() {
		code <- shell.run(t.Context(), []string{"--config", conf, "image", "shell", "web:1", "--", "sh", "-c", "echo in; read x; echo $x"})
		_ = stdout.Close()
	}()
	if _, err := shown.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() { b, _ := io.ReadAll(shown); said <- string(b) }() // ends with the shell

	ask := func(want int, args ...string) string {
		p, out, errs := newProgram()
		if got := p.run(t.Context(), append([]string{"--socket", w.socket, "image"}, args...)); got != want {
			t.Errorf("image %q: exit code %d, want %d: %s", args, got, want, errs)
		}
		return out.String() + errs.String()
	}
	const why = "somebody has a shell in it (muster image shell)"
	if got := ask(exitTaken, "remove", "web:1"); !strings.Contains(got, "web:1 stays: "+why) {
		t.Errorf("remove says %q", got)
	}
	if got := ask(exitOK, "prune", "--dry-run"); !strings.Contains(got, why) || !strings.Contains(got, "would go") {
		t.Errorf("a dry run says %q", got)
	}
	if got := ask(exitOK, "prune"); !strings.Contains(got, why) || !strings.Contains(got, "1 version removed") {
		t.Errorf("prune says %q", got)
	}
	_, err = typed.Write([]byte("alive\n"))
	if c, out := <-code, <-said; err != nil || c != exitOK || !strings.Contains(out, "alive") {
		t.Errorf("the shell: exit code %d, %q, %v", c, out, err)
	}
	if got := ask(exitOK, "prune"); !strings.Contains(got, "1 version removed") {
		t.Errorf("prune says %q when the shell is gone", got)
	}
}
