package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestScope(t *testing.T) {
	got := strings.Join(Limits{}.scope("u"), " ")
	for _, want := range []string{"--scope ", "--unit=u ", "MemoryMax=2147483648 ", "CPUWeight=30 ", "IOWeight=30 "} {
		if !strings.Contains(got, want) {
			t.Errorf("the default %q lacks %q", got, want)
		}
	}
	got = strings.Join(Limits{Memory: -1, CPUWeight: 200, IOWeight: 7}.scope("u"), " ")
	if strings.Contains(got, "MemoryMax") || !strings.Contains(got, "CPUWeight=200 ") || !strings.Contains(got, "IOWeight=7 ") {
		t.Errorf("with values: %q", got)
	}
}

// fakeSystemd puts a systemd-run into PATH that notes its arguments and runs the command in its place, as
// systemd-run --scope does, and makes b believe that systemd runs.
func fakeSystemd(t *testing.T, b *Builder) (args string) {
	t.Helper()
	dir := t.TempDir()
	args = filepath.Join(dir, "args")
	script := "#!/bin/sh\necho \"$@\" >>" + args + "\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n"
	must(t, os.WriteFile(filepath.Join(dir, "systemd-run"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	b.booted = dir
	return args
}

// What a build's programs see of their surroundings, with systemd and without.
const surroundings = `
echo "pid $$ of $(ls -d /proc/[0-9]* | wc -l) nice $(nice)" >>"$tree/../../../seen"
cat /proc/sys/kernel/hostname >>"$tree/../../../seen"
`

func TestBuildIsConfined(t *testing.T) {
	for _, systemd := range []bool{false, true} {
		b := testBuilder(t, surroundings+finishTree)
		args := ""
		nice := "nice 10"
		if systemd {
			args, nice = fakeSystemd(t, b), "nice 0"
		}
		before, err := os.Hostname()
		must(t, err)
		if _, err := b.Build(t.Context(), "web", Recipe{}, Options{}); err != nil {
			t.Fatal(err)
		}
		seen, err := os.ReadFile(filepath.Join(b.Catalog.Dir, "seen"))
		must(t, err)
		if !strings.HasPrefix(string(seen), "pid 1 ") || !strings.Contains(string(seen), nice) || !strings.Contains(string(seen), "\n"+buildHost+"\n") {
			t.Errorf("systemd %t: the build saw %q", systemd, seen)
		}
		if after, err := os.Hostname(); err != nil || after != before {
			t.Errorf("this machine is called %q now, %v; it was %q", after, err, before)
		}
		if !systemd {
			continue
		}
		said, err := os.ReadFile(args)
		must(t, err)
		if !strings.HasPrefix(string(said), "--scope --quiet --collect --unit=muster-build-web-") || !strings.Contains(string(said), "-p MemoryMax=2147483648") {
			t.Errorf("systemd-run got %q", said)
		}
	}
}

// A build in a scope ends with its context, too, with all that it started.
func TestCancelInAScope(t *testing.T) {
	b := testBuilder(t, `
mount -t tmpfs tmpfs "$tree/boot"
: >"$tree/../../../held"
setsid flock "$tree/../../../held" sh -c 'echo "I: extracting archives"; sleep 1000' &
wait
`)
	fakeSystemd(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := b.Build(ctx, "web", Recipe{}, Options{Progress: func(p Progress) {
		if p.Stage == StageBase {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Build = %v, want context.Canceled", err)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	f, err := os.Open(filepath.Join(b.Catalog.Dir, "held"))
	must(t, err)
	defer f.Close()
	for end := time.Now().Add(time.Minute); unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process of the build lives on")
		}
	}
}
