package tftpd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// TestRefusals: what a client is told, and that it is told no details.
func TestRefusals(t *testing.T) {
	disk := t.TempDir()
	if err := os.WriteFile(filepath.Join(disk, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(disk, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(disk, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	memory := fstest.MapFS{"dir/f": {}}
	rrq := func(file string) request { return request{op: opRRQ, file: file, mode: "octet"} }
	for _, c := range []struct {
		name string
		fsys fs.FS
		req  request
		want string
	}{
		{"missing", memory, rrq("none"), "ERROR 1 file not found"},
		{"directory", memory, rrq("dir"), "ERROR 1 file not found"},
		{"root", memory, rrq("/."), "ERROR 1 file not found"},
		{"directory on disk", os.DirFS(disk), rrq("dir/"), "ERROR 1 file not found"},
		{"named pipe", os.DirFS(disk), rrq("pipe"), "ERROR 1 file not found"},
		{"below a file", os.DirFS(disk), rrq("file/x"), "ERROR 1 file not found"},
		{"endless name", os.DirFS(disk), rrq(strings.Repeat("x", 500)), "ERROR 1 file not found"},
		{"above the root", memory, rrq("../../etc/passwd"), "ERROR 2 access denied"},
		{"above, by backslashes", memory, rrq(`\..\..\etc\passwd`), "ERROR 2 access denied"},
		{"above, in the middle", memory, rrq("/dir/../../x"), "ERROR 2 access denied"},
		{"no name", memory, rrq("///"), "ERROR 4 bad request"},
		{"no UTF-8", memory, rrq("a\xffb"), "ERROR 4 bad request"},
		{"write", memory, request{op: opWRQ, file: "dir/f", mode: "octet"}, "ERROR 2 this server is read-only"},
		{"mail", memory, request{op: opRRQ, file: "dir/f", mode: "mail"}, "ERROR 4 bad request"},
		{"no mode", memory, request{op: opRRQ, file: "dir/f"}, "ERROR 4 bad request"},
		{"permission", broken{fs.ErrPermission}, rrq("f"), "ERROR 2 access denied"},
		{"invalid", broken{fs.ErrInvalid}, rrq("f"), "ERROR 4 bad request"},
		{"exist", broken{fs.ErrExist}, rrq("f"), "ERROR 6 file already exists"},
		{"other", broken{errors.New("secret: disk on fire")}, rrq("f"), "ERROR 0 internal error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMemory(t, &Server{FS: c.fsys}, func(t *testing.T, n *memNet, ended ends) {
				cl := n.client(t, 1)
				cl.raw(c.req.encode())
				cl.want(c.want)
				cl.silent()
				tr := ended.next(t)
				if tr.Err == nil || tr.Bytes != 0 || tr.Blksize != 0 {
					t.Errorf("observed %+v", tr)
				}
			})
		})
	}
}

// TestSymlinkOutside: os.Root keeps links inside; the client learns nothing of where they lead.
func TestSymlinkOutside(t *testing.T) {
	disk := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(disk, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	inMemory(t, &Server{FS: root.FS()}, func(t *testing.T, n *memNet, _ ends) {
		c := n.client(t, 1)
		c.read("link")
		c.want("ERROR 0 internal error")
	})
}

// faulty is a file that breaks after its first bytes.
type faulty struct {
	fs.File
	r io.Reader
}

func (f faulty) Read(p []byte) (int, error) { return f.r.Read(p) }

type faultyFS struct{ fs.FS }

func (f faultyFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	broken := io.MultiReader(bytes.NewReader(content(1000)), iotestErr{errors.New("secret: bad sector")})
	return faulty{file, broken}, err
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

// TestReadError: a file that cannot be read to its end is not taken for a shorter one.
func TestReadError(t *testing.T) {
	srv := &Server{FS: faultyFS{files(map[string][]byte{"f": content(5000)})}}
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 512")
		c.ack(1)
		c.want("ERROR 0 internal error")
		if tr := ended.next(t); tr.Err == nil || !strings.Contains(tr.Err.Error(), "bad sector") {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestClientAborts: firmware asks for the size, and that was all. Nobody answers an ERROR.
func TestClientAborts(t *testing.T) {
	inMemory(t, one(123456), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "tsize", "0")
		c.want("OACK tsize=123456")
		c.send(errorPacket(8, "User aborted the transfer"))
		tr := ended.next(t)
		c.silent()
		if !errors.Is(tr.Err, ErrAborted) || !strings.Contains(tr.Err.Error(), "User aborted") || tr.Duration != 0 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestClientGone: a closed port ends the transfer at once.
func TestClientGone(t *testing.T) {
	inMemory(t, one(10_000), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 512")
		c.gone.Store(true)
		c.ack(1)
		if tr := ended.next(t); !errors.Is(tr.Err, ErrGone) || tr.Duration > time.Second {
			t.Errorf("observed %+v", tr)
		}
		c.silent()
	})
}

// TestNetasciiOptions: the mode in any case; its size on the wire is not told, as nobody knows it before the end.
func TestNetasciiOptions(t *testing.T) {
	srv := &Server{FS: files(map[string][]byte{"f": []byte("a\nb\r")})}
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		r := request{op: opRRQ, file: "f", mode: "NetASCII", options: []option{{"tsize", "0"}, {"blksize", "8"}}}
		c.raw(r.encode())
		c.want("OACK blksize=8") // the size on the wire is not known
		c.ack(0)
		c.want("DATA 1 6")
		c.ack(1)
		if tr := ended.next(t); tr.Err != nil || tr.Bytes != 6 {
			t.Errorf("observed %+v", tr)
		}
	})
}
