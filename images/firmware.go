package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// firmware.go reads kernel modules and firmware, which Debian compresses since trixie: the agent and the kernel
// find them plain in an initrd, which is compressed as a whole.

// compressions are the suffixes under which a file may be found.
var compressions = []string{"", ".xz", ".zst"}

// plainName is a file's name without the suffix of its compression.
func plainName(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".xz"), ".zst")
}

// plainMax is how many bytes a module or a firmware file may have, uncompressed; Debian's largest have some 30 MB.
// They are held in memory, and may be a stranger's.
const plainMax = 128 << 20

// readPlain reads a file as what it is uncompressed, by its suffix. The error wraps fs.ErrInvalid when it is larger
// than plainMax.
func readPlain(fsys fs.FS, name string) ([]byte, error) {
	b, err := readBounded(fsys, name)
	if err != nil {
		return nil, err
	}
	var r io.Reader
	switch path.Ext(name) {
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(b))
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(plainMax)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return b, nil
	}
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(r, plainMax+1))
	}
	if err == nil && len(b) > plainMax {
		err = errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

var errTooLarge = fmt.Errorf("has more than %d MB, which no module and no firmware has: %w", plainMax>>20, fs.ErrInvalid)

// readBounded is fs.ReadFile for what is not larger than plainMax.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO of a strange root would wait for ever
		return nil, fmt.Errorf("%s: is no file: %w", name, fs.ErrInvalid)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > plainMax {
		return nil, fmt.Errorf("%s: %w", name, errTooLarge)
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // ReadFrom looks for the end behind it
	_, err = b.ReadFrom(io.LimitReader(f, plainMax+1))
	return b.Bytes(), err
}

// readFirmware reads the firmware name, which may be compressed.
func readFirmware(fsys fs.FS, name string) ([]byte, error) {
	for _, suffix := range compressions {
		b, err := readPlain(fsys, name+suffix)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// nonFree is Debian's component with firmware and microcode.
const nonFree = "non-free-firmware"

// nonFreePackages are what a machine's image gets of it: microcode, and the firmware of the NICs that servers
// have and that are silent without it.
var nonFreePackages = []string{
	"amd64-microcode", "intel-microcode",
	"firmware-bnx2", "firmware-bnx2x", "firmware-misc-nonfree", "firmware-netronome", "firmware-qlogic", "firmware-realtek",
}

// firmwarePackages are the packages to add for the flavour, where one of the sources has them.
func firmwarePackages(flavour string, lines []string) []string {
	if flavour != KernelFull {
		return nil // virtual NICs have none, and a guest cannot change its processor's microcode
	}
	for _, line := range lines {
		for _, s := range parseList(line) {
			if slices.Contains(s.components, nonFree) && inDebian(line) {
				return nonFreePackages
			}
		}
	}
	return nil
}
