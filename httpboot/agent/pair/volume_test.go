package pair

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// halfReal is a machine with real mounts, disks and processes below a root, and without an NFS server.
type halfReal struct {
	Linux
	*fakeMachine
}

func (h halfReal) Run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	switch name {
	case "exportfs", "drbdadm":
		return h.fakeMachine.Run(ctx, env, name, args...)
	}
	return h.Linux.Run(ctx, env, name, args...)
}

func (h halfReal) Mount(source, target, fstype string, flags uintptr, data string) error {
	if fstype == "nfsd" || fstype == "rpc_pipefs" {
		return nil
	}
	return h.Linux.Mount(source, target, fstype, flags, data)
}

func (h halfReal) Daemon(ctx context.Context, name string, args ...string) error {
	return h.fakeMachine.Daemon(ctx, name, args...)
}
func (h halfReal) Kill(pid int, sig unix.Signal) error       { return h.fakeMachine.Kill(pid, sig) }
func (h halfReal) Socket(port int) (*os.File, error)         { return h.fakeMachine.Socket(port) }
func (h halfReal) Bind(dir *os.File, target string) error    { return h.Linux.Bind(dir, target) }
func (h halfReal) MountFile(file, target string) error       { return h.Linux.MountFile(file, target) }
func (h halfReal) Unmount(target string) error               { return h.Linux.Unmount(target) }
func (h halfReal) Exclusive(device string) error             { return h.Linux.Exclusive(device) }
func (h halfReal) Capacity(dir string) (int64, int64, error) { return h.Linux.Capacity(dir) }

// A volume from mkfs to the last unmount, with the kernel's own mounts: format, start, contents, takeover, stop.
func TestVolume(t *testing.T) {
	d := loop(t, testDisk)
	for _, tool := range []string{"mksquashfs", "mkfs.ext4", "fuser"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	h := newHalf(t)
	f := h.f
	real := halfReal{fakeMachine: f}
	h.System = real
	h.prepare()
	m := &h.machine
	if err := errors.Join(os.Remove(f.root+Device), os.Symlink(d.device, f.root+Device), os.Remove(f.root+"/proc/mounts"),
		os.Symlink("/proc/self/mounts", f.root+"/proc/mounts")); err != nil {
		t.Fatal(err)
	}
	left := func() (out []string) {
		for _, mt := range m.mounts() {
			if strings.HasPrefix(mt.target, f.root+"/") {
				out = append(out, mt.target)
			}
		}
		return out
	}
	t.Cleanup(func() {
		for _, target := range slices.Backward(left()) {
			t.Errorf("%s is still mounted", target)
			unix.Unmount(target, unix.MNT_DETACH)
		}
	})

	h.drbd.set(blankNew)
	if done, err := h.format(t.Context(), Orders{Format: true}, Report{}); !done || err != nil {
		t.Fatalf("format: %v, %v", done, err)
	}
	if got := left(); len(got) > 0 {
		t.Fatalf("format left %q", got)
	}

	// The image is a real squashfs.
	tree := t.TempDir()
	if err := os.WriteFile(tree+"/hello", []byte("web 7"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "squashfs")
	if out, err := exec.Command("mksquashfs", tree, image, "-quiet", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v: %s", err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	c := testContents
	c.Images = []Image{{Name: "web", Version: 7, Squashfs: "/7", Seal: "/7.seal", Size: int64(len(b))}}
	h.Store = fixedStore{"web:7": string(b)}

	log := &bytes.Buffer{}
	a := &ResourceAgent{Config: testConfig, Root: f.root, System: real, Network: f, Log: log}
	if code := a.Do(t.Context(), "start"); code != ocfSuccess {
		t.Fatalf("start: %d\n%s", code, log)
	}
	if err := h.makeContents(t.Context(), c); err != nil {
		t.Errorf("contents: %v", err)
	}
	// Who formats now would destroy data.
	if _, err := os.Stat(f.root + servedFile); err != nil {
		t.Error(err)
	}
	www := f.root + ExportDir + "/volumes/www/page"
	for again := range 2 { // and again after a stop: all is there without the boot server
		if got, err := os.ReadFile(f.root + ExportDir + "/images/web/7/hello"); err != nil || string(got) != "web 7" {
			t.Errorf("image: %q, %v\n%s", got, err, log)
		}
		if err := os.WriteFile(www, []byte("page"), 0o644); err != nil {
			t.Errorf("volume: %v", err)
		}
		if got := f.read(Volume + "/volumes/www/page"); got != "page" {
			t.Errorf("it is not the volume's: %q", got)
		}
		if code := a.Do(t.Context(), "monitor"); code != ocfSuccess {
			t.Errorf("monitor: %d\n%s", code, log)
		}
		if mounts := f.read("/proc/mounts"); !strings.Contains(mounts, f.root+Volume+" ext4 rw") || !strings.Contains(mounts, "errors=remount-ro") {
			t.Errorf("a broken file system would be written to: %s", mounts)
		}
		// Somebody who has the volume open is in the way, and is killed only when patience is over.
		user := exec.Command("sleep", "300")
		user.Dir = f.root + Volume
		if again > 0 {
			user.Dir = f.root
		}
		if err := user.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- user.Wait() }() // ends with the process
		if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
			t.Errorf("stop: %d\n%s", code, log)
		}
		if again > 0 {
			select {
			case <-ended:
				t.Error("who was not in the way was killed")
			default:
				user.Process.Kill()
			}
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("who was in the way lives on")
			user.Process.Kill()
		}
		if left := left(); len(left) > 0 {
			t.Fatalf("stop left %q\n%s", left, log)
		}
		log.Reset()
		if code := a.Do(t.Context(), "start"); code != ocfSuccess {
			t.Fatalf("start again: %d\n%s", code, log)
		}
		if !strings.Contains(log.String(), "images offered: [web:7]") {
			t.Errorf("after a takeover:\n%s", log)
		}
	}
	if code := a.Do(t.Context(), "stop"); code != ocfSuccess {
		t.Errorf("stop: %d\n%s", code, log)
	}
	h.drbd.set(inSync)
	if _, err := h.format(t.Context(), Orders{Format: true}, Report{}); err == nil || !strings.Contains(err.Error(), "has been served") {
		t.Errorf("a volume that was served: %v", err)
	}
}
