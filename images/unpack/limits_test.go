package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

func TestCompressions(t *testing.T) {
	plain := pack(t, file("a", "content"))
	packers := map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	}
	archives := map[string][]byte{"none": plain}
	for name, packer := range packers {
		var b bytes.Buffer
		w, err := packer(&b)
		must(t, err)
		_, err = w.Write(plain)
		must(t, errors.Join(err, w.Close()))
		archives[name] = b.Bytes()
	}
	if bzip2, err := exec.LookPath("bzip2"); err == nil { // Go reads it and does not write it
		cmd := exec.Command(bzip2, "-c")
		cmd.Stdin = bytes.NewReader(plain)
		archives["bzip2"], err = cmd.Output()
		must(t, err)
	}
	for name, a := range archives {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			must(t, s.apply(Options{}, a))
			if got := s.tree(); len(got) != 1 || got[0] != "a=content" {
				t.Errorf("%q", got)
			}
			for _, n := range []int{len(a) / 3, len(a) - 600, len(a) - 1} {
				if n <= 0 || name == "none" && n > 600 {
					continue // nothing but padding is missing
				}
				if err := newScene(t).apply(Options{}, a[:n]); err == nil {
					t.Errorf("%d of %d bytes are enough", n, len(a))
				}
			}
		})
	}
}

func TestDamagedArchives(t *testing.T) {
	good := gz(t, pack(t, file("a", strings.Repeat("content", 1000))))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // of the checksum
	for name, test := range map[string]struct {
		archive []byte
		says    string
	}{
		"text":              {bytes.Repeat([]byte("no archive at all "), 100), "not a tar archive"},
		"gzip of text":      {gz(t, bytes.Repeat([]byte("no archive at all "), 100)), "not a tar archive"},
		"cut off":           {good[:len(good)/2], "cut off"},
		"wrong checksum":    {flipped, "checksum"},
		"cut off in a file": {pack(t, file("a", strings.Repeat("x", 10000)))[:5000], `"a": the archive is cut off`},
	} {
		err := newScene(t).apply(Options{}, test.archive)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.says)
		}
	}
}

func TestLimits(t *testing.T) {
	bomb := gz(t, pack(t, file("zeros", string(make([]byte, 4<<20)))))
	for name, test := range map[string]struct {
		limits  Limits
		archive []byte
		says    string
		kind    error
	}{
		"entries": {Limits{Entries: 2}, pack(t, file("a", ""), file("b", ""), file("c", "")), "more than 2 entries", fs.ErrInvalid},
		"bytes":   {Limits{Bytes: 9}, pack(t, file("a", "12345"), file("b", "12345")), "more than 9 bytes", fs.ErrInvalid},
		"bomb":    {Limits{Free: 1 << 20}, bomb, "bomb", fs.ErrInvalid},
		"disk":    {Limits{Reserve: 1 << 60}, pack(t, file("a", strings.Repeat("x", checkEvery))), "must stay free", unix.ENOSPC},
	} {
		s := newScene(t)
		err := s.apply(Options{Limits: test.limits}, test.archive)
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.says)
		}
	}
	must(t, newScene(t).apply(Options{}, bomb)) // an empty database is none
}

func TestHolesStayHoles(t *testing.T) {
	s := newScene(t)
	content := strings.Repeat("\x00", 3<<20) + "end" + strings.Repeat("\x00", 1<<20)
	must(t, s.apply(Options{}, pack(t, file("f", content), file("empty", ""), file("odd", strings.Repeat("x", hole+1)))))
	b, err := os.ReadFile(filepath.Join(s.root, "f"))
	if err != nil || string(b) != content {
		t.Errorf("the content changed (%d bytes, %v)", len(b), err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(s.root, "f"), &st))
	if st.Blocks*512 > 64<<10 {
		t.Errorf("4 MB of zeros take %d bytes on the disk", st.Blocks*512)
	}
}

// TestSparseArchive reads what GNU tar makes of a sparse file, in its three ways.
func TestSparseArchive(t *testing.T) {
	tarPath, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("needs tar: it writes sparse archives")
	}
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("at a gigabyte"), 1<<30)
	must(t, errors.Join(err, f.Truncate(2<<30), f.Close()))
	for _, format := range [][]string{{"--format=gnu"}, {"--format=pax", "--sparse-version=0.1"}, {"--format=pax", "--sparse-version=1.0"}} {
		a, err := exec.Command(tarPath, append(append([]string{"-cS"}, format...), "-C", src, "sparse")...).Output()
		must(t, err)
		s := newScene(t)
		must(t, s.apply(Options{}, a))
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(s.root, "sparse"), &st))
		if st.Size != 2<<30 || st.Blocks*512 > 64<<10 {
			t.Errorf("%v: %d bytes, %d on the disk", format, st.Size, st.Blocks*512)
		}
		got := make([]byte, 13)
		f, err := os.Open(filepath.Join(s.root, "sparse"))
		must(t, err)
		if _, err := f.ReadAt(got, 1<<30); err != nil || string(got) != "at a gigabyte" {
			t.Errorf("%v: %q, %v", format, got, err)
		}
		must(t, f.Close())
	}
}

func TestApplyEndsWithItsContext(t *testing.T) {
	s := newScene(t)
	r, err := Open(s.root)
	must(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Apply(ctx, bytes.NewReader(pack(t, file("a", "x"))), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply = %v", err)
	}
}
