package tftpd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestDiskFile: a file that is in memory is read without waiting, to its end and no further.
func TestDiskFile(t *testing.T) {
	want := content(100_000)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, want, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newReader(f)
	q, ok := r.(quickReader)
	if !ok {
		t.Fatal("a file of the operating system is not read quickly")
	}
	var got []byte
	for buf := make([]byte, 7000); ; {
		n, err := q.quickRead(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, errHungry) { // this file system cannot tell
			n, err = r.Read(buf)
			got = append(got, buf[:n]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	equal(t, got, want)
}

// TestFromDisk: files from a directory arrive whole, by the poller, in lock-step and in windows.
func TestFromDisk(t *testing.T) {
	dir := t.TempDir()
	want := content(1_000_003)
	if err := os.WriteFile(filepath.Join(dir, "f"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	addr, ended := start(t, &Server{FS: os.DirFS(dir)}, "127.0.0.1:0")
	for _, option := range []string{"blksize 8", "blksize 1428", "windowsize 16", "windowsize 64"} {
		out := filepath.Join(t.TempDir(), "out")
		run(t, "atftp", "--option", option, "-g", "-r", "f", "-l", out, addr.Addr().String(), fmt.Sprint(addr.Port()))
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
		if tr := ended.next(t); tr.Err != nil || tr.Bytes != int64(len(want)) {
			t.Errorf("observed %+v", tr)
		}
	}
}
