package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"muster/httpboot/agent/pair"
	"muster/roles/api"
)

// maxManifest bounds an archive's manifest, in bytes: it has a name for each volume and each slot.
const maxManifest = 16 << 20

// checkArchive reads all of an archive, checks its digest, and gives what it is of.
func checkArchive(file string) (m pair.Manifest, err error) {
	f, err := os.Open(file)
	if err != nil {
		return m, err
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, pair.NewUnsealer(f)); err != nil {
		return m, fmt.Errorf("%s: %w", file, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return m, err
	}
	defer z.Close()
	t := tar.NewReader(z)
	h, err := t.Next()
	if err == nil && h.Name != pair.ManifestName {
		err = fmt.Errorf("it begins with %q: %w", h.Name, fs.ErrInvalid)
	}
	if err == nil {
		err = json.NewDecoder(io.LimitReader(t, maxManifest)).Decode(&m)
	}
	if err == nil && m.Format != 1 {
		err = fmt.Errorf("its format is %d, and this program knows 1: %w", m.Format, fs.ErrInvalid)
	}
	if err != nil {
		return m, fmt.Errorf("%s is no archive of a storage pair: %w", file, err)
	}
	return m, nil
}

// restoreRequest says what is restored from an archive: nothing when nothing is named.
func restoreRequest(m pair.Manifest, volume, slot, into string, all bool) (q api.RestoreRequest, err error) {
	add := func(kind, name string) {
		from, to := kind+"/"+name, kind+"/"+name
		if into != "" {
			to = kind + "/" + into
		}
		q.From, q.To = append(q.From, from), append(q.To, to)
	}
	switch {
	case all:
		q.From, q.To = m.Paths, m.Paths
	case volume != "":
		add("volumes", volume)
	case slot != "":
		add("state", slot)
	case into != "":
		return q, fmt.Errorf("--into is for a --volume or a --slot: %w", fs.ErrInvalid)
	}
	for i, from := range q.From {
		if !slices.Contains(m.Paths, from) {
			return q, fmt.Errorf("the archive has no %s: %w", from, fs.ErrNotExist)
		}
		if err := pair.CheckCopyPath(q.To[i]); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (p *program) printArchive(m pair.Manifest) {
	fmt.Fprintf(p.stdout, "whole: %s as it was %s, read from %s\n", printable(m.Pool), m.At.Local().Format(time.DateTime), printable(m.Half))
	for _, path := range m.Paths {
		fmt.Fprintln(p.stdout, "  "+printable(path))
	}
}
