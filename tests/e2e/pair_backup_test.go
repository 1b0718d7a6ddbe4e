package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"muster/httpboot/agent/pair"
	"muster/roles"
	"muster/roles/api"
)

// backUp makes backups while records are written, ends some of them by what can happen in the middle, and at last takes
// the records' volume away and restores it. It goes last: the volume is older afterwards, as it must be.
func (p *pairSite) backUp() {
	idle := other(p.settled())
	blob := p.restoreBlob()
	figures := p.backUpWhole(idle, blob)
	p.overflowBackup(idle)
	inIdle := p.dieInBackup(idle, "the half that it is read from dies in the middle")
	p.settled()
	inActive := p.dieInBackup(active(p.storage("served", whole)), "the active half dies in the middle")
	p.settled()
	p.check()
	file := filepath.Join(p.dir, "last.tar.zst")
	p.muster("storage", "backup", "storage", "--to", file)
	p.remembersBackup(file)
	back := p.restoreRecords(file)
	p.says(9, "%s; %s; %s; %s", figures, inIdle, inActive, back)
}

// remembersBackup checks that the pair knows its latest backup, which was whole after others had failed.
func (p *pairSite) remembersBackup(file string) {
	p.t.Helper()
	fi, err := os.Stat(file)
	if err != nil {
		p.t.Fatal(err)
	}
	v, err := p.client.Pair(p.t.Context(), "storage")
	if b := v.Backup; err != nil || b.Size != fi.Size() || !strings.HasSuffix(b.To, ":"+file) || b.Took <= 0 || !v.BackupFailed.At.IsZero() {
		p.t.Errorf("the pair remembers %+v, and failed %+v, of %d bytes: %v", b, v.BackupFailed, fi.Size(), err)
	}
}

// blobSize is more than what lies in buffers between a half and who reads its archive.
const blobSize = 24 << 20

// restoreBlob has the pair take a volume that nobody uses, from an archive that this test has made, while it serves. It
// gives the digest of the file in it.
func (p *pairSite) restoreBlob() (digest [sha256.Size]byte) {
	p.t.Helper()
	blob := make([]byte, blobSize)
	_, _ = rand.Read(blob) // it never fails
	file := filepath.Join(p.dir, "blob.tar.zst")
	write(p.t, file, string(blobArchive(p, blob)))
	p.muster("storage", "restore", "storage", file) // only looks
	p.muster("storage", "restore", "storage", file, "--volume", "blob")
	if out, err := p.try("storage", "restore", "storage", file, "--volume", "blob"); err == nil || !strings.Contains(out, "is not empty") {
		p.t.Errorf("a volume that has something was overwritten unasked: %v %s", err, out)
	}
	if out, err := p.try("storage", "restore", "storage", file, "--volume", "data", "--replace", "--yes"); err == nil || !strings.Contains(out, "the archive has no") {
		p.t.Errorf("a volume that the archive does not have: %v %s", err, out)
	}
	return sha256.Sum256(blob)
}

// blobArchive is an archive with one volume, which has a large file and what a careless copy loses.
func blobArchive(p *pairSite, blob []byte) []byte {
	p.t.Helper()
	m, err := json.Marshal(pair.Manifest{Format: 1, Pool: "storage", Half: "nobody", At: time.Now(), Paths: []string{"volumes/blob"}})
	if err != nil {
		p.t.Fatal(err)
	}
	var out bytes.Buffer
	seal := pair.NewSealer(&out)
	z, err := zstd.NewWriter(seal)
	if err != nil {
		p.t.Fatal(err)
	}
	t := tar.NewWriter(z)
	add := func(h tar.Header, b []byte) {
		h.Size, h.Format = int64(len(b)), tar.FormatPAX
		if err := t.WriteHeader(&h); err != nil {
			p.t.Fatal(err)
		}
		if _, err := t.Write(b); err != nil {
			p.t.Fatal(err)
		}
	}
	add(tar.Header{Name: pair.ManifestName, Mode: 0o600}, m)
	add(tar.Header{Name: "volumes/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	add(tar.Header{Name: "volumes/blob/", Typeflag: tar.TypeDir, Mode: 0o2775, Uid: 4711, Gid: 4712}, nil)
	add(tar.Header{Name: "volumes/blob/file", Mode: 0o640, Uid: 4713, Gid: 4714, PAXRecords: map[string]string{"SCHILY.xattr.user.muster": "kept"}}, blob)
	add(tar.Header{Name: "volumes/blob/hard", Typeflag: tar.TypeLink, Linkname: "volumes/blob/file", Mode: 0o640, Uid: 4713, Gid: 4714}, nil)
	add(tar.Header{Name: "volumes/blob/soft", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", Mode: 0o777}, nil)
	if err := errors.Join(t.Close(), z.Close(), seal.Seal()); err != nil {
		p.t.Fatal(err)
	}
	return out.Bytes()
}

// archived is what a test looks at in an archive.
type archived struct {
	manifest pair.Manifest
	records  string
	blob     [sha256.Size]byte
	headers  map[string]*tar.Header
	size     int64
}

// readArchive reads all of an archive; its seal must be right.
func (p *pairSite) readArchive(file string) archived {
	p.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	z, err := zstd.NewReader(pair.NewUnsealer(bytes.NewReader(b)))
	if err != nil {
		p.t.Fatal(err)
	}
	defer z.Close()
	a := archived{headers: map[string]*tar.Header{}, size: int64(len(b))}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		var content []byte
		if err == nil {
			content, err = io.ReadAll(t)
		}
		if err != nil {
			p.t.Fatalf("%s: %v", file, err)
		}
		a.headers[h.Name] = h
		switch h.Name {
		case pair.ManifestName:
			err = json.Unmarshal(content, &a.manifest)
		case "volumes/data/records":
			a.records = string(content)
		case "volumes/blob/file", "volumes/blob/hard": // one file, whose content comes with the name that is first
			if h.Typeflag == tar.TypeReg {
				a.blob = sha256.Sum256(content)
			}
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if _, err := io.Copy(io.Discard, z); err != nil { // the seal lies behind the tar's end
		p.t.Fatalf("%s: %v", file, err)
	}
	return a
}

// backUpWhole makes a backup while records are written: it has all that were acknowledged before it, in order, and
// none that came after.
func (p *pairSite) backUpWhole(idle string, blob [sha256.Size]byte) string {
	p.t.Helper()
	p.rec.goesOn(p.t, 20)
	file := filepath.Join(p.dir, "whole.tar.zst")
	at := time.Now()
	calm := p.rec.stall(at.Add(-5 * time.Second))
	before := p.rec.count()
	p.muster("storage", "backup", "storage", "--to", file)
	took, after := since(at), p.rec.count()
	p.rec.goesOn(p.t, 3)
	a := p.readArchive(file)
	n := p.checkRecords(a.records, before, after)
	if a.manifest.Half != idle {
		p.t.Errorf("the backup was read from %s, want %s", a.manifest.Half, idle)
	}
	if a.blob != blob {
		p.t.Error("the large file is another one in the backup")
	}
	f, dir, hard, soft := a.headers["volumes/blob/file"], a.headers["volumes/blob/"], a.headers["volumes/blob/hard"], a.headers["volumes/blob/soft"]
	if f == nil || dir == nil || hard == nil || soft == nil {
		p.t.Fatalf("the backup has %v", a.headers)
	}
	if f.Typeflag == tar.TypeLink { // which of the two comes first is the directory's to say
		f, hard = hard, f
	}
	if f.Uid != 4713 || f.Gid != 4714 || f.Mode&0o7777 != 0o640 || f.PAXRecords["SCHILY.xattr.user.muster"] != "kept" ||
		dir.Uid != 4711 || dir.Mode&0o7777 != 0o2775 || hard.Typeflag != tar.TypeLink || soft.Linkname != "/etc/passwd" {
		p.t.Errorf("the backup is not as it was restored: %+v %+v %+v %+v", f, dir, hard, soft)
	}
	if after <= before {
		p.t.Error("nothing was written while the backup was read: it shows nothing")
	}
	return fmt.Sprintf("backup of %.0f MiB in %.1f s from %s: writes held back for %.1f ms, the longest pause between records %.2f s (without it %.2f), records %d ≤ %d ≤ %d",
		float64(a.size)/(1<<20), took, idle, a.manifest.Held, p.rec.stall(at), calm, before, n, after)
}

// checkRecords checks that records are those up to a moment: without a gap, with all that were acknowledged before it. It
// gives how many there are.
func (p *pairSite) checkRecords(records string, before, after int) (n int) {
	p.t.Helper()
	for line := range strings.Lines(records) {
		got, err := number(line)
		if err != nil || got != n+1 || !strings.HasSuffix(line, "\n") {
			p.t.Errorf("record %q comes after %d in the backup", line, n)
		}
		n = got
	}
	// One may have been on its way.
	if n < before || n > after+1 {
		p.t.Errorf("the backup has %d records; %d were acknowledged before it began, and %d before it was there", n, before, after)
	}
	return n
}

// stuck is somebody who wants a backup and does not read it until he is let go.
type stuck struct {
	begun, free chan struct{}
	once        sync.Once
}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.free
	return len(b), nil
}

// stuckBackup begins a backup that stands still in the middle. What it gives lets it go on and gives its end.
func (p *pairSite) stuckBackup(room int64) (end func() error) {
	p.t.Helper()
	s := &stuck{begun: make(chan struct{}), free: make(chan struct{})}
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*patience)
	go func() { ended <- p.client.BackupPair(ctx, "storage", api.BackupRequest{Room: room}, s) }() // ends with ctx at the latest
	select {
	case <-s.begun:
	case err := <-ended:
		p.t.Fatalf("a backup ended before it began: %v", err)
	}
	return func() error {
		defer cancel()
		close(s.free)
		return <-ended
	}
}

// overflowBackup gives a backup less memory than it needs: it ends, and the pair does not notice.
func (p *pairSite) overflowBackup(idle string) {
	p.t.Helper()
	m := p.half(idle)
	m.Mark()
	at := time.Now()
	end := p.stuckBackup(1 << 20)
	if _, err := m.WaitConsole(p.t.Context(), regexp.MustCompile("backup: .*dropped the snapshot")); err != nil {
		p.t.Fatal(err)
	}
	p.rec.goesOn(p.t, 10)
	if err := end(); err == nil || !strings.Contains(err.Error(), "dropped the snapshot") {
		p.t.Errorf("a backup without memory: %v", err)
	}
	if now := p.settled(); now != other(idle) {
		p.t.Errorf("%s is active after a failed backup, was %s", now, other(idle))
	}
	if stall := p.rec.stall(at); stall > 5 {
		p.t.Errorf("records stood still for %.1f s while a snapshot overflowed", stall)
	}
	p.check()
}

// dieInBackup takes a half's power in the middle of a backup.
func (p *pairSite) dieInBackup(dies, what string) string {
	p.t.Helper()
	end := p.stuckBackup(0)
	at := time.Now()
	if err := p.half(dies).Off(); err != nil {
		p.t.Fatal(err)
	}
	p.serves(other(dies))
	if err := end(); err == nil {
		p.t.Errorf("%s, and it succeeded", what)
	}
	p.check()
	p.settled()
	if out, err := p.try("storage", "backup", "storage", "--to", filepath.Join(p.dir, "after-"+dies+".tar.zst")); err != nil {
		p.t.Errorf("%s, and the next backup fails: %v %s", what, err, out)
	}
	return fmt.Sprintf("%s: %s", what, p.stalls(at))
}

// restoreRecords replaces the records' volume by another one, and that by the one in a backup: the web machine goes on
// from there.
func (p *pairSite) restoreRecords(file string) string {
	p.t.Helper()
	was := p.readArchive(file)
	if out, err := p.try("storage", "restore", "storage", file, "--volume", "data", "--replace", "--yes"); err == nil || !strings.Contains(out, "in use by web-01") {
		p.t.Errorf("a volume was restored under the machine that uses it: %v %s", err, out)
	}
	p.muster("node", "power", "web-01", "off")
	p.wait(p.web.MAC().String(), "off", func(n roles.Node) bool { return n.State == roles.StateOff })
	// What was there goes: then the volume has nothing of it, until the backup is back.
	p.muster("storage", "restore", "storage", filepath.Join(p.dir, "blob.tar.zst"), "--volume", "blob", "--into", "data", "--replace", "--yes")
	lost := filepath.Join(p.dir, "lost.tar.zst")
	p.muster("storage", "backup", "storage", "--to", lost)
	if a := p.readArchive(lost); a.records != "" || a.headers["volumes/data/file"] == nil {
		p.t.Error("the records' volume was not replaced")
	}
	at := time.Now()
	p.muster("storage", "restore", "storage", file, "--volume", "data", "--replace", "--yes")
	took := since(at)
	p.rec.mu.Lock()
	p.rec.acked = nil
	p.rec.mu.Unlock()
	p.muster("node", "power", "web-01", "on")
	p.rec.goesOn(p.t, 5)
	p.waitReady(p.web.MAC().String(), "web-01")
	now := p.file("http://10.77.0.20:81/records")
	if !strings.HasPrefix(now, was.records) || len(now) <= len(was.records) {
		p.t.Error("the records are not those of the backup, and what came since")
	}
	p.checkRecords(now[:strings.LastIndexByte(now, '\n')+1], strings.Count(was.records, "\n")+1, 1<<30)
	return fmt.Sprintf("its volume is replaced and restored in %.1f s; the web machine goes on behind record %d", took, strings.Count(was.records, "\n"))
}
