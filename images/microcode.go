package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"regexp"

	"github.com/u-root/u-root/pkg/cpio"
)

// microcode.go makes the part of an initrd that the kernel reads before anything else: an archive that is not
// compressed, with the processors' microcode (Documentation/arch/x86/microcode.rst).

// microcodes maps the kernel's file to what it is made of, below /lib/firmware: all files that match, by name.
var microcodes = []struct {
	file, dir string
	parts     *regexp.Regexp
	split     func([]byte) [][]byte
}{
	{"AuthenticAMD.bin", "amd-ucode", regexp.MustCompile(`^microcode_amd\w*\.bin(\.xz|\.zst)?$`), whole},
	// family-model-stepping; ".initramfs" marks what only an early load may use.
	{"GenuineIntel.bin", "intel-ucode", regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}(\.initramfs)?(\.xz|\.zst)?$`), intelUpdates},
}

func whole(b []byte) [][]byte { return [][]byte{b} }

// intelUpdates splits a file into its updates. Many files hold the same one, which names all processors that it
// is for: of the 21 MB of 2025, which cannot be compressed, they are a third. See Intel's manual, volume 3, "Microcode
// Update Facilities".
func intelUpdates(b []byte) (all [][]byte) {
	const header, plainSize = 48, 2048
	for rest := b; len(rest) > 0; {
		if len(rest) < header || binary.LittleEndian.Uint32(rest) != 1 {
			return whole(b) // the kernel will know what it is
		}
		size := plainSize
		if binary.LittleEndian.Uint32(rest[28:]) != 0 {
			size = int(binary.LittleEndian.Uint32(rest[32:]))
		}
		if size < header || size > len(rest) {
			return whole(b)
		}
		all, rest = append(all, rest[:size]), rest[size:]
	}
	return all
}

// microcodeRecords gives the archive's files; none when the root has no microcode.
func microcodeRecords(firmwares fs.FS) ([]cpio.Record, error) {
	var records []cpio.Record
	for _, m := range microcodes {
		entries, err := fs.ReadDir(firmwares, m.dir)
		if err != nil {
			continue // the package is not there
		}
		var all bytes.Buffer
		seen := map[string]bool{}
		for _, e := range entries {
			if !m.parts.MatchString(e.Name()) {
				continue
			}
			b, err := readPlain(firmwares, m.dir+"/"+e.Name())
			if err != nil {
				return nil, fmt.Errorf("images: microcode: %w", err)
			}
			for _, update := range m.split(b) {
				if !seen[string(update)] {
					seen[string(update)] = true
					all.Write(update)
				}
			}
		}
		if all.Len() > 0 {
			records = append(records, fileRecord("kernel/x86/microcode/"+m.file, all.Bytes()))
		}
	}
	return records, nil
}

// packPlain writes records as a cpio archive that is not compressed, with each file's content where the processor
// wants it: it reads microcode from a multiple of 16 (Intel's manual, volume 3), right out of the archive.
func packPlain(w io.Writer, records []cpio.Record) error {
	padded := &countWriter{w: w}
	records = withParents(records)
	const header, align, aligned = 110, 4, 16 // of the format "newc", cpio(5)
	round := func(n int) int { return (n + align - 1) &^ (align - 1) }
	at := 0
	for i, r := range records {
		content := at + header + len(r.Name) + 1
		if r.FileSize > 0 {
			// A name may have more than one zero byte behind it.
			for ; content%aligned != 0; content++ {
				records[i].Name += "\x00"
			}
		}
		at = round(content) + round(int(r.FileSize))
	}
	if err := writeRecords(padded, records); err != nil {
		return err
	}
	return padded.pad()
}
