package pair

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// archiveOf is an archive of what volumeOf makes.
func archiveOf(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	volumeOf(t, dir)
	manifest := filepath.Join(t.TempDir(), ManifestName)
	if err := os.WriteFile(manifest, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := NewSealer(&out)
	if err := pack(t.Context(), manifest, dir, s); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// newRestorer is an active half with a volume www that has a file of its own and is exported.
func newRestorer(t *testing.T) *copier {
	t.Helper()
	c := newCopier(t)
	c.server.give = archiveOf(t)
	c.f.file(ServingFile, "")
	for _, d := range []string{"/volumes/www", "/volumes/other", "/volumes/empty", "/state/web-01", "/.muster"} {
		c.f.dir(Volume + d)
	}
	c.f.file(Volume+"/volumes/www/mine", "mine")
	c.f.file(keptFile, `{"revision":"1","exports":[{"path":"volumes/www","clients":["10.77.0.20/32"]},{"path":"volumes/other","clients":["10.77.0.20/32"]}]}`)
	unlock, err := c.machine.lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	kept, err := c.machine.kept()
	if err != nil {
		t.Fatal(err)
	}
	if _, aside, err := c.machine.export(t.Context(), kept); err != nil || aside != nil {
		t.Fatal(err, aside)
	}
	return c
}

func (c *copier) exported() (out []string) {
	for _, m := range c.machine.below(ExportDir) {
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(m, ExportDir), "/"))
	}
	slices.Sort(out)
	return out
}

// TestRestore: a directory comes back as it was, with its owners, links and attributes; what is exported is exported
// again.
func TestRestore(t *testing.T) {
	c := newRestorer(t)
	end := c.order(t, Copy{ID: "1", Kind: CopyRestore, Replace: true, Paths: []CopyPath{{"volumes/www", "volumes/www"}, {"state/web-01", "state/new"}}})
	if end.Why != "" {
		t.Fatal(end.Why)
	}
	at := c.f.root + Volume + "/"
	var index, hard unix.Stat_t
	for file, st := range map[string]*unix.Stat_t{"volumes/www/index": &index, "volumes/www/hard": &hard} {
		if err := unix.Stat(at+file, st); err != nil {
			t.Fatal(err)
		}
	}
	value := make([]byte, 10)
	n, err := unix.Getxattr(at+"volumes/www/index", "user.muster", value)
	if index.Ino != hard.Ino || index.Mode&0o7777 != 0o640 || err != nil || string(value[:n]) != "kept" || os.Getuid() == 0 && index.Uid != 4711 {
		t.Errorf("%+v %+v, %v %q", index, hard, err, value)
	}
	if c.f.read(Volume+"/volumes/www/mine") != "" || c.f.read(Volume+"/state/new/var-log/syslog") != "log" || c.machine.flag(restoreDir) {
		t.Error("what was there is there still, or the other directory is not, or what was unpacked lies around")
	}
	if got, want := c.exported(), []string{"", "volumes/other", "volumes/www"}; !slices.Equal(got, want) {
		t.Errorf("exported %q, want %q", got, want)
	}
}

// TestRestoreRefuses: what is refused, and what breaks off, leaves everything as it was.
func TestRestoreRefuses(t *testing.T) {
	www := []CopyPath{{"volumes/www", "volumes/www"}}
	for name, tt := range map[string]struct {
		spoil func(*copier)
		order Copy
		why   string
	}{
		"not empty":      {nil, Copy{Paths: www}, "volumes/www is not empty"},
		"not active":     {func(c *copier) { os.Remove(c.f.root + ServingFile) }, Copy{Paths: www, Replace: true}, "does not serve"},
		"no path":        {nil, Copy{Paths: []CopyPath{{"volumes/www", "../www"}}, Replace: true}, "neither volumes/NAME"},
		"images":         {nil, Copy{Paths: []CopyPath{{"images/web", "images/web"}}, Replace: true}, "neither volumes/NAME"},
		"too deep":       {nil, Copy{Paths: []CopyPath{{"volumes/www/sub", "volumes/empty"}}}, "neither volumes/NAME"},
		"not in it":      {nil, Copy{Paths: []CopyPath{{"volumes/none", "volumes/empty"}}}, "Not found in archive"},
		"cut":            {func(c *copier) { c.server.give = c.server.give[:len(c.server.give)-10] }, Copy{Paths: www, Replace: true}, "no whole backup"},
		"another":        {func(c *copier) { c.server.give[len(c.server.give)-3]++ }, Copy{Paths: www, Replace: true}, "no whole backup"},
		"garbage":        {func(c *copier) { c.server.give = []byte("garbage") }, Copy{Paths: www, Replace: true}, ""},
		"nobody gives":   {func(c *copier) { c.server.hear = refuseAsk }, Copy{Paths: www, Replace: true}, "nobody waits"},
		"not exportable": {func(c *copier) { c.f.program("exportfs", failing) }, Copy{Paths: www, Replace: true}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRestorer(t)
			if tt.spoil != nil {
				tt.spoil(c)
			}
			tt.order.ID, tt.order.Kind = "1", CopyRestore
			end := c.order(t, tt.order)
			if end.Why == "" || !strings.Contains(end.Why, tt.why) {
				t.Errorf("why %q, want %q", end.Why, tt.why)
			}
			if c.f.read(Volume+"/volumes/www/mine") != "mine" || c.f.read(Volume+"/volumes/www/index") != "" || c.machine.flag(restoreDir) {
				t.Error("the volume is not as it was")
			}
			if name != "not exportable" && !slices.Contains(c.exported(), "volumes/www") {
				t.Errorf("exported %q", c.exported())
			}
		})
	}
}

func refuseAsk(p CopyPiece) error {
	if !p.Done {
		return fs.ErrNotExist
	}
	return nil
}

func failing([]string) (string, error) {
	return "", &ExitError{Command: "exportfs", Code: 1, Output: "broken"}
}

// TestRestoreOverEmpty: an empty directory is nobody's loss.
func TestRestoreOverEmpty(t *testing.T) {
	c := newRestorer(t)
	if end := c.order(t, Copy{ID: "1", Kind: CopyRestore, Paths: []CopyPath{{"volumes/www", "volumes/empty"}}}); end.Why != "" || c.f.read(Volume+"/volumes/empty/index") != "hello" {
		t.Errorf("%+v", end)
	}
}

// TestRestoreWaits: what a node that is off had open is let go when its lease has ended, and only then.
func TestRestoreWaits(t *testing.T) {
	c := newRestorer(t)
	info := nfsdDir + "/clients/5/info"
	c.f.file(info, "clientid: 0x1\naddress: \"10.77.0.20:812\"\nstatus: confirmed\nseconds from last renew: 9\n")
	c.f.file(nfsdDir+"/clients/5/ctl", "")
	c.f.busy[ExportDir+"/volumes/www"] = 2
	c.m.program("exportfs", func([]string) (string, error) {
		if c.f.read(nfsdDir+"/clients/5/ctl") != "" {
			t.Error("a client that lives is expired")
		}
		c.f.program("exportfs", func([]string) (string, error) { return "", nil })
		c.f.file(info, "status: courtesy\nseconds from last renew: 16\n")
		return "", nil
	})
	end := c.order(t, Copy{ID: "1", Kind: CopyRestore, Replace: true, Paths: []CopyPath{{"volumes/www", "volumes/www"}}})
	if end.Why != "" || c.f.read(Volume+"/volumes/www/index") != "hello" || c.f.read(nfsdDir+"/clients/5/ctl") != "expire\n" {
		t.Errorf("%+v, ctl %q", end, c.f.read(nfsdDir+"/clients/5/ctl"))
	}
	for info, dead := range map[string]bool{
		"": false, "status: confirmed\nseconds from last renew: 15\n": false, "status: confirmed\nseconds from last renew: 16\n": true,
		"status: courtesy\n": true, "name: \"status: courtesy\"\nstatus: confirmed\n": false,
	} {
		if clientDead(info) != dead {
			t.Errorf("%q: dead %v", info, !dead)
		}
	}
}

// TestRestoreInUse: who lives keeps what he has open.
func TestRestoreInUse(t *testing.T) {
	c := newRestorer(t)
	c.f.busy[ExportDir+"/volumes/www"] = 1 << 20
	kept, err := c.machine.kept()
	if err != nil {
		t.Fatal(err)
	}
	err = c.settleUnexported(t.Context(), kept, Copy{Replace: true, Paths: []CopyPath{{"volumes/www", "volumes/www"}}})
	if !errors.Is(err, errInUse) || c.f.read(Volume+"/volumes/www/mine") != "mine" {
		t.Errorf("%v", err)
	}
}
