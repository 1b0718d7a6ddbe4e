package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"muster/httpboot/agent/pair"
)

// archiveFile is an archive with a manifest and no more, unsealed and written by change.
func archiveFile(t *testing.T, name string, m pair.Manifest, change func([]byte) []byte) string {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	seal := pair.NewSealer(&out)
	z, err := zstd.NewWriter(seal)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(b)), Mode: 0o600})
	if _, werr := w.Write(b); err == nil {
		err = werr
	}
	if err = errors.Join(err, w.Close(), z.Close(), seal.Seal()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, change(out.Bytes()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckArchive(t *testing.T) {
	m := pair.Manifest{Format: 1, Pool: "storage", Paths: []string{"volumes/www"}}
	as := func(b []byte) []byte { return b }
	if got, err := checkArchive(archiveFile(t, pair.ManifestName, m, as)); err != nil || !slices.Equal(got.Paths, m.Paths) {
		t.Errorf("%+v, %v", got, err)
	}
	later := m
	later.Format = 2
	for name, file := range map[string]string{
		"cut":           archiveFile(t, pair.ManifestName, m, func(b []byte) []byte { return b[:len(b)-1] }),
		"another byte":  archiveFile(t, pair.ManifestName, m, func(b []byte) []byte { b[20] ^= 1; return b }),
		"another tar":   archiveFile(t, "other", m, as),
		"later format":  archiveFile(t, pair.ManifestName, later, as),
		"no archive":    archiveFile(t, "other", m, func([]byte) []byte { return []byte("hello") }),
		"an empty file": archiveFile(t, "other", m, func([]byte) []byte { return nil }),
	} {
		if _, err := checkArchive(file); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRestoreRequest(t *testing.T) {
	m := pair.Manifest{Paths: []string{"volumes/www", "state/web-01"}}
	for _, tt := range []struct {
		volume, slot, into string
		all                bool
		from, to           []string
		err                error
	}{
		{},
		{all: true, from: m.Paths, to: m.Paths},
		{volume: "www", from: []string{"volumes/www"}, to: []string{"volumes/www"}},
		{volume: "www", into: "new", from: []string{"volumes/www"}, to: []string{"volumes/new"}},
		{slot: "web-01", into: "web-02", from: []string{"state/web-01"}, to: []string{"state/web-02"}},
		{volume: "none", err: fs.ErrNotExist},
		{volume: "www", into: "../x", err: fs.ErrInvalid},
		{into: "new", err: fs.ErrInvalid},
	} {
		q, err := restoreRequest(m, tt.volume, tt.slot, tt.into, tt.all)
		if !errors.Is(err, tt.err) || tt.err == nil && (!slices.Equal(q.From, tt.from) || !slices.Equal(q.To, tt.to)) {
			t.Errorf("%+v: %+v, %v", tt, q, err)
		}
	}
}
