package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// busyTree is a root file system with a static busybox in it, in a directory like a version's.
func busyTree(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: a sandbox mounts")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox: a root file system is made of it")
	}
	tree := filepath.Join(t.TempDir(), "7", "tree")
	for _, d := range []string{"bin", "usr", "etc", "proc", "sys", "dev", "tmp", "root"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := copyBusybox(filepath.Join(tree, "bin/busybox"))
	if err == nil {
		err = os.WriteFile(filepath.Join(tree, "etc/motd"), []byte("hi\n"), 0o644)
	}
	for _, name := range []string{"sh", "cat", "ls", "touch", "rm", "kill", "sleep", "mount", "ps", "true"} {
		err = errors.Join(err, os.Symlink("busybox", filepath.Join(tree, "bin", name)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// copyBusybox copies the static busybox of this machine.
func copyBusybox(to string) error {
	from, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

func inSandbox(t *testing.T, tree, script string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	box := sandbox{tree: tree, name: "web:7", stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	err = box.run(t.Context(), []string{"sh", "-c", script})
	if errs.Len() > 0 {
		t.Logf("stderr: %s", errs.String())
	}
	return out.String(), err
}

// listing is what a tree has, with the content of what is small.
func listing(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%P %M %s %T@ %l\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// mounts are those of this process that mention a path.
func mounts(t *testing.T, pid, path string) (out []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/mounts")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, path) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// TestSandboxChangesNothing: what is written is seen inside, and nowhere else.
func TestSandboxChangesNothing(t *testing.T) {
	tree := busyTree(t)
	before := listing(t, tree)
	out, err := inSandbox(t, tree, `touch /new && echo bye >/etc/motd && rm /bin/ps && cat /etc/motd && ls /new`)
	if err != nil || out != "bye\n/new\n" {
		t.Errorf("inside: %q, %v", out, err)
	}
	if after := listing(t, tree); after != before {
		t.Errorf("the tree was\n%s\nand is\n%s", before, after)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "etc/motd")); err != nil || string(b) != "hi\n" {
		t.Errorf("motd: %q, %v", b, err)
	}
	if m := mounts(t, "self", filepath.Dir(tree)); m != nil {
		t.Errorf("left mounted: %q", m)
	}
}

// TestSandboxIsFurnished: what programs expect of a machine is there, and no disk of this one.
func TestSandboxIsFurnished(t *testing.T) {
	tree := busyTree(t)
	out, err := inSandbox(t, tree, `
cat /proc/self/comm
echo x >/dev/null && echo null
[ -d /proc/$$ ] && echo proc
[ -c /dev/urandom ] && echo urandom
for f in /dev/*; do [ -b "$f" ] && echo "disk $f"; done
echo $debian_chroot $HOME
`)
	want := "cat\nnull\nproc\nurandom\nweb:7 /root\n"
	if err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

// TestSandboxDevicesOfTheTree: an imported root may bring devices of its own, which are none inside.
func TestSandboxDevicesOfTheTree(t *testing.T) {
	tree := busyTree(t)
	if err := unix.Mknod(filepath.Join(tree, "disk"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	out, err := inSandbox(t, tree, "[ -c /disk ] && echo there; cat /disk && echo read; true </dev/null && echo null")
	if err != nil || out != "there\nnull\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestSandboxByNspawn: systemd-nspawn, which says so in $container, where that is installed; a chroot elsewhere.
func TestSandboxByNspawn(t *testing.T) {
	tree := busyTree(t)
	want := "\n"
	if _, err := exec.LookPath("systemd-nspawn"); err == nil {
		want = "systemd-nspawn\n"
	}
	out, err := inSandbox(t, tree, "echo $container; exit 3")
	if out != want || exitCode(err) != 3 {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

// TestSandboxExitCode: the command's, with 128 and the signal for one that was killed, and unshare's for one that
// is not there.
func TestSandboxExitCode(t *testing.T) {
	tree := busyTree(t)
	for script, want := range map[string]int{"exit 42": 42, "exit 0": 0, "nothing-of-that-name": 127} {
		_, err := inSandbox(t, tree, script)
		if got := exitCode(err); got != want {
			t.Errorf("%s: %v, exit code %d, want %d", script, err, got, want)
		}
	}
}

// TestSandboxLinksStayInside: a tree whose /dev leads out of it mounts nothing there.
func TestSandboxLinksStayInside(t *testing.T) {
	tree := busyTree(t)
	if err := errors.Join(os.Remove(filepath.Join(tree, "dev")), os.Symlink("/tmp", filepath.Join(tree, "dev"))); err != nil {
		t.Fatal(err)
	}
	if _, err := inSandbox(t, tree, "true"); exitCode(err) != exitInvalid || !strings.Contains(err.Error(), "/dev of web:7 is no directory") {
		t.Errorf("got %v", err)
	}
}

// TestSandboxEndsWithContext: Ctrl-C ends it, and all that runs in it.
func TestSandboxEndsWithContext(t *testing.T) {
	tree := busyTree(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		box := sandbox{tree: tree, name: "web:7", stdin: strings.NewReader(""), stdout: w, stderr: io.Discard}
		done <- box.run(ctx, []string{"sh", "-c", "sleep 1000 & echo up; wait"})
		_ = w.Close()
	}()
	if _, err := r.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends when the sandbox does
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestSandboxDiesWithParent: after kill -9 nothing runs and nothing is mounted. The parent is this test's program,
// started again as TestSandboxParent.
func TestSandboxDiesWithParent(t *testing.T) {
	tree := busyTree(t)
	mark := strconv.Itoa(100000 + os.Getpid())
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSandboxParent$", "-test.v")
	cmd.Env = append(os.Environ(), "SANDBOX_TREE="+tree, "SANDBOX_SLEEP="+mark)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var seen strings.Builder
	buf := make([]byte, 256)
	for !strings.Contains(seen.String(), "inside\n") {
		n, err := out.Read(buf)
		if seen.Write(buf[:n]); err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
	}
	eventually(t, "it sleeps", func() bool { return len(sleepers(t, mark)) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	eventually(t, "it is gone", func() bool { return len(sleepers(t, mark)) == 0 })
	if m := mounts(t, "self", filepath.Dir(tree)); m != nil {
		t.Errorf("left mounted: %q", m)
	}
	if entries, err := os.ReadDir(filepath.Dir(tree)); err != nil || len(entries) != 1 {
		t.Errorf("beside the tree: %v, %v", entries, err)
	}
}

// eventually waits for what no event tells.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// TestSandboxParent is no test: it is the program that TestSandboxDiesWithParent kills.
func TestSandboxParent(t *testing.T) {
	tree := os.Getenv("SANDBOX_TREE")
	if tree == "" {
		return
	}
	box := sandbox{tree: tree, name: "web:7", stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
	err := box.run(t.Context(), []string{"sh", "-c", "sleep " + os.Getenv("SANDBOX_SLEEP") + " & echo inside; wait"})
	t.Errorf("it ended: %v", err)
}

// sleepers are the processes that sleep for so long.
func sleepers(t *testing.T, mark string) (out []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(b), "sleep\x00"+mark) {
			out = append(out, filepath.Dir(f))
		}
	}
	return out
}
