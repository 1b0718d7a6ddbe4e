package rack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the maker of a rack that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("MUSTER_RACK_VICTIM"); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// remains is how a test finds again what belongs to a rack.
type remains struct {
	Netns  string
	Dir    string
	Holder int
	// PIDs are processes of the rack.
	PIDs []int
}

func (r *Rack) remains(pids ...int) remains {
	return remains{Netns: r.holder.netns, Dir: r.dir, Holder: r.holder.cmd.Process.Pid, PIDs: append(pids, r.holder.cmd.Process.Pid)}
}

// left says what is left of a rack; "" when nothing is. The namespaces have no name and are held by no file,
// so they are gone with the last process; a tap and a bridge are gone with their namespace.
func (m remains) left() string {
	if _, err := os.Stat(m.Dir); err == nil {
		return "directory " + m.Dir
	}
	for _, pid := range m.PIDs {
		if syscall.Kill(pid, 0) == nil && !zombie(pid) {
			return "a process of the rack"
		}
	}
	if len(pidsIn(m.Netns)) > 0 {
		return "processes in " + m.Netns
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to == m.Netns {
			return "an open " + m.Netns
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), m.Netns) || strings.Contains(string(mounts), m.Dir) {
		return "a mount"
	}
	return ""
}

// zombie reports whether a process has ended and its parent, here one that adopted it, has not noticed.
func zombie(pid int) bool {
	stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || len(stat) == 0
}

// waitGone waits until nothing is left.
func (m remains) waitGone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for m.left() != "" {
		if time.Now().After(deadline) {
			t.Fatalf("left: %s", m.left())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// populate puts a running machine and a daemon into a rack, which lets go of its parent as rpcbind does, and
// returns the pids of both.
func populate(r *Rack) ([]int, error) {
	m, err := r.Add(MachineSpec{Firmware: UEFI})
	if err != nil {
		return nil, err
	}
	if err := m.On(); err != nil {
		return nil, err
	}
	out, err := r.Command(context.Background(), "/bin/sh", "-c", `setsid sleep 3600 >/dev/null 2>&1 & echo $!`).Output()
	if err != nil {
		return nil, err
	}
	var daemon int
	if err := json.Unmarshal(out, &daemon); err != nil {
		return nil, err
	}
	return []int{m.PID(), daemon}, nil
}

// victim makes a rack in dir, tells what belongs to it, and waits to be killed.
func victim(dir string) {
	r, err := New(context.Background(), Options{Dir: dir, Accel: AccelTCG})
	if err != nil {
		panic(err)
	}
	pids, err := populate(r)
	if err != nil {
		panic(err)
	}
	json.NewEncoder(os.Stdout).Encode(r.remains(pids...))
	select {}
}

func TestCloseLeavesNothing(t *testing.T) {
	needsRack(t)
	before := goleak.IgnoreCurrent()
	r := newRack(t, Options{Accel: AccelTCG, Dir: t.TempDir()})
	pids, err := populate(r)
	if err != nil {
		t.Fatal(err)
	}
	m := r.remains(pids...)
	if m.left() == "" {
		t.Fatal("a running rack looks like a removed one")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if left := m.left(); left != "" {
		t.Errorf("left: %s", left)
	}
	goleak.VerifyNone(t, before)
	if _, err := r.Add(MachineSpec{Firmware: BIOS}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("add to a closed rack: got error %v, want closed", err)
	}
	if err := r.Machines()[0].On(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("switch on in a closed rack: got error %v, want closed", err)
	}
}

// TestKilledMakerLeavesNothing kills the process that made a rack, without a chance to clean up.
func TestKilledMakerLeavesNothing(t *testing.T) {
	needsRack(t)
	cmd, m := startVictim(t, t.TempDir())
	cmd.Process.Kill()
	cmd.Wait()
	m.waitGone(t)
}

// TestStaleRack kills the holder as well: the next New removes what is left.
func TestStaleRack(t *testing.T) {
	needsRack(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "muster-e2e-1", lockFile)
	if err := errors.Join(os.Mkdir(filepath.Dir(other), 0o755), os.WriteFile(other, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd, m := startVictim(t, dir)
	if err := syscall.Kill(m.Holder, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	live := newRack(t, Options{Accel: AccelTCG, Dir: dir})
	if m.left() == "" {
		t.Fatal("New removed the rack of a living maker")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if m.left() == "" {
		t.Fatal("nothing is left to remove: the test tests nothing")
	}
	newRack(t, Options{Accel: AccelTCG, Dir: dir})
	m.waitGone(t)
	if _, err := os.Stat(other); err != nil {
		t.Errorf("somebody else's directory is gone: %v", err)
	}
	if out, err := live.Command(t.Context(), "true").CombinedOutput(); err != nil {
		t.Errorf("the living rack was harmed: %v: %s", err, out)
	}
}

// startVictim starts this test binary as the maker of a rack in dir.
func startVictim(t *testing.T, dir string) (*exec.Cmd, remains) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "MUSTER_RACK_VICTIM="+dir)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	var m remains
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&m); err != nil {
		t.Fatal("the victim made no rack: ", err)
	}
	if left := m.left(); left == "" {
		t.Fatal("the victim's rack is not there")
	}
	return cmd, m
}
