package images

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"

	"github.com/u-root/u-root/pkg/cpio"
)

// microcode.go makes the part of an initrd that the kernel reads before anything else: an archive that is not
// compressed, with the processors' microcode (Documentation/arch/x86/microcode.rst).

// microcodes maps the kernel's file to what it is made of, below /lib/firmware: all files that match, by name.
var microcodes = []struct {
	file, dir string
	parts     *regexp.Regexp
}{
	{"AuthenticAMD.bin", "amd-ucode", regexp.MustCompile(`^microcode_amd\w*\.bin(\.xz|\.zst)?$`)},
	// family-model-stepping; ".initramfs" marks what only an early load may use.
	{"GenuineIntel.bin", "intel-ucode", regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}(\.initramfs)?(\.xz|\.zst)?$`)},
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
		for _, e := range entries {
			if !m.parts.MatchString(e.Name()) {
				continue
			}
			b, err := readPlain(firmwares, m.dir+"/"+e.Name())
			if err != nil {
				return nil, fmt.Errorf("images: microcode: %w", err)
			}
			all.Write(b)
			all.Write(make([]byte, -len(b)&15)) // each begins where the kernel looks for it
		}
		if all.Len() > 0 {
			records = append(records, fileRecord("kernel/x86/microcode/"+m.file, all.Bytes()))
		}
	}
	return slices.Clip(records), nil
}

// packPlain writes records as a cpio archive that is not compressed.
func packPlain(w io.Writer, records []cpio.Record) error {
	padded := &countWriter{w: w}
	if err := writeArchive(padded, records); err != nil {
		return err
	}
	return padded.pad()
}
