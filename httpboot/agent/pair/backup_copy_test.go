package pair

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// copier is a half with a disk below its layer, and a boot server for copies.
type copier struct {
	*half
	m      *mappedMachine
	server *copyServer
}

func newCopier(t *testing.T) *copier {
	t.Helper()
	needTools(t)
	h := newHalf(t)
	c := &copier{half: h, m: newMappedMachine(h.f), server: &copyServer{done: make(chan CopyPiece, 1)}}
	h.f.disk("vda", "DATA-1", 64<<20)
	h.Daemon = &Daemon{Config: testConfig, Root: h.f.root, System: c.m, Network: c.m, Server: c.server, Console: agent.NewConsole(h.said, false)}
	h.prepare()
	h.drbd.set(inSync)
	if err := h.machine.link(t.Context(), disk{name: "vda", device: "/dev/vda", size: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	c.m.volume = func(dir string) { volumeOf(t, dir) }
	return c
}

// volumeOf makes what a pair's volume has.
func volumeOf(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"volumes/www/sub", "state/web-01/var-log", "images/web", ".muster"} {
		if err := os.MkdirAll(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"volumes/www/index": "hello", "volumes/www/sub/x": "x", "state/web-01/var-log/syslog": "log", "images/web/7.squashfs": "big"} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Link(dir+"/volumes/www/index", dir+"/volumes/www/hard"), unix.Setxattr(dir+"/volumes/www/index", "user.muster", []byte("kept"), 0))
	if os.Getuid() == 0 {
		err = errors.Join(err, os.Lchown(dir+"/volumes/www/index", 4711, 4712))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// order gives the half an order, and waits until it has said how it ended.
func (c *copier) order(t *testing.T, o Copy) CopyPiece {
	t.Helper()
	c.copyAs(t.Context(), &o)
	select {
	case p := <-c.server.done:
		<-c.copying.done
		return p
	case <-time.After(time.Minute):
		t.Fatal("the copy does not end")
		return CopyPiece{}
	}
}

// TestBackup: the archive has volumes and state, its seal is right, and nothing of the snapshot is left.
func TestBackup(t *testing.T) {
	c := newCopier(t)
	end := c.order(t, Copy{ID: "1", Kind: CopyBackup})
	if end.Why != "" || end.Offset != int64(len(c.server.took)) || !strings.Contains(end.Note, "of 4 MiB") {
		t.Fatalf("%+v", end)
	}
	c.m.bare(t, "backup")
	z, err := zstd.NewReader(NewUnsealer(bytes.NewReader(c.server.took)))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		switch h.Name {
		case ManifestName:
			var m Manifest
			if err := json.NewDecoder(r).Decode(&m); err != nil || m.Pool != "storage" || m.Half != "storage-01" || !slices.Equal(m.Paths, []string{"volumes/www", "state/web-01"}) {
				t.Errorf("manifest %+v, %v", m, err)
			}
		case "volumes/www/index":
			if h.Typeflag == tar.TypeReg && h.PAXRecords["SCHILY.xattr.user.muster"] != "kept" {
				t.Errorf("%+v", h)
			}
		}
	}
	if _, err := io.Copy(io.Discard, z); err != nil {
		t.Error(err)
	}
	if names[0] != ManifestName {
		t.Errorf("the first member is %s", names[0])
	}
	slices.Sort(names)
	want := []string{ManifestName, "state/", "state/web-01/", "state/web-01/var-log/", "state/web-01/var-log/syslog", "volumes/", "volumes/www/", "volumes/www/hard", "volumes/www/index", "volumes/www/sub/", "volumes/www/sub/x"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestBackupFails: a backup that is not one says why, has no seal, and leaves nothing.
func TestBackupFails(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*copier)
		why   string
	}{
		"serves": {func(c *copier) { c.f.file(ServingFile, "") }, "this half serves"},
		"syncs": {func(c *copier) {
			c.drbd.set(drbd{connection: "SyncTarget", role: "Secondary", peerRole: "Primary", disk: "Inconsistent", peerDisk: "UpToDate"})
		}, "has not all data"},
		"no memory":    {func(c *copier) { c.f.file("/proc/meminfo", "MemAvailable: 100 kB\n") }, "needs memory"},
		"no journal":   {func(c *copier) { c.f.broken[copyMount] = unix.EUCLEAN }, unix.EUCLEAN.Error()},
		"overflow":     {func(c *copier) { c.m.says("Invalid") }, "dropped the snapshot (invalid)"},
		"no state":     {func(c *copier) { c.m.volume = func(dir string) { os.Mkdir(dir+"/volumes", 0o755) } }, "state"},
		"unknown kind": {func(*copier) {}, "older than the boot server"},
		"no receiver":  {func(c *copier) { c.server.hear = refuseData }, "nobody waits"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCopier(t)
			tt.spoil(c)
			kind := CopyBackup
			if name == "unknown kind" {
				kind = "another"
			}
			end := c.order(t, Copy{ID: "1", Kind: kind})
			if !strings.Contains(end.Why, tt.why) || end.Note != "" {
				t.Errorf("%+v, want why %q", end, tt.why)
			}
			if _, err := io.Copy(io.Discard, NewUnsealer(bytes.NewReader(c.server.took))); err == nil {
				t.Error("what it sent is whole")
			}
			c.m.bare(t, name)
		})
	}
}

func refuseData(p CopyPiece) error {
	if len(p.Data) > 0 {
		return fs.ErrNotExist
	}
	return nil
}

// TestBackupIsCalledOff: without the order it stops, whatever it does, and so it does when this half is needed.
func TestBackupIsCalledOff(t *testing.T) {
	for name, stop := range map[string]func(*copier){
		"no order":     func(c *copier) { c.copyAs(t.Context(), nil) },
		"daemon stops": func(c *copier) { c.endCopies() },
		"takeover":     func(c *copier) { c.f.file(ServingFile, "") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCopier(t)
			stuck := make(chan struct{})
			c.server.hear = func(p CopyPiece) error {
				if len(p.Data) == 0 {
					return nil
				}
				select {
				case <-stuck:
				default:
					close(stuck)
				}
				return fs.ErrExist // not yet
			}
			c.copyAs(t.Context(), &Copy{ID: "1", Kind: CopyBackup})
			<-stuck
			stop(c)
			<-c.copying.done
			c.m.bare(t, name)
			if name == "takeover" {
				if end := <-c.server.done; !strings.Contains(end.Why, "serves by now") {
					t.Errorf("%+v", end)
				}
			}
		})
	}
}

// TestPieces: a word that was not heard is said again; nothing is sent twice or left out.
func TestPieces(t *testing.T) {
	s := &copyServer{}
	n := 0
	s.hear = func(CopyPiece) error {
		if n++; n%2 == 1 {
			return fmt.Errorf("later: %w", fs.ErrExist)
		}
		return nil
	}
	p := &pieces{ctx: t.Context(), server: s, id: "1"}
	text := bytes.Repeat([]byte("0123456789"), CopyPieceSize/8)
	for at := 0; at < len(text); at += 100_000 {
		if _, err := p.Write(text[at:min(at+100_000, len(text))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(); err != nil || !bytes.Equal(s.took, text) {
		t.Errorf("%v, %d of %d bytes", err, len(s.took), len(text))
	}
	s.give = text
	got, err := io.ReadAll(&pieces{ctx: t.Context(), server: s, id: "1"})
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%v, %d of %d bytes", err, len(got), len(text))
	}
	s.hear = func(CopyPiece) error { return fs.ErrNotExist }
	if _, err := (&pieces{ctx: t.Context(), server: s}).Read(make([]byte, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody waits: %v", err)
	}
}
