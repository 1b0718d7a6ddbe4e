package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sync/errgroup"
)

// ModulesList is the initrd's file with the names of the modules that the agent loads in every boot, one a
// line, in order; a name without a module in modules.dep is built in or absent and is no error.
const ModulesList = "/etc/muster/modules"

// initrdWindow bounds zstd's window: the kernel's decompressor needs as much memory at once, before it has
// much.
const initrdWindow = 8 << 20

// initrdDirs are empty directories on which the agent mounts.
var initrdDirs = []string{"dev", "etc", "etc/muster", "lib", "lib/modules", "mnt", "newroot", "proc", "root", "run", "sys", "tmp", "var"}

// WriteInitrd writes an initrd for the tree's kernel: microcode, if the tree has any, then agent as /init and the
// flavour's modules with their firmware, as a cpio archive in zstd. Equal inputs give equal bytes.
func WriteInitrd(w io.Writer, tree, release, flavour, agent string) error {
	_, err := writeInitrd(w, tree, release, flavour, agent)
	return err
}

// initrdFacts are what a build's log tells of an initrd.
type initrdFacts struct {
	lacking   []string // drivers whose firmware the tree lacks
	microcode bool
}

// writeInitrd is WriteInitrd.
func writeInitrd(w io.Writer, tree, release, flavour, agent string) (facts initrdFacts, err error) {
	// Through a Root: a link in an imported tree must not bring this machine's files into the initrd.
	root, err := os.OpenRoot(tree)
	if err != nil {
		return facts, fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	modules, err := readModules(libDir(root, "modules/"+release))
	if err != nil {
		return facts, err
	}
	firmwares := libDir(root, "firmware")
	records, lacking, err := initrdRecords(modules, firmwares, release, flavour)
	if err != nil {
		return facts, err
	}
	facts.lacking = lacking
	init, err := os.ReadFile(agent)
	if err != nil {
		return facts, fmt.Errorf("images: the agent: %w", err)
	}
	records = append(records, cpio.StaticFile("init", string(init), 0o755))
	if flavour == KernelFull {
		microcode, err := microcodeRecords(firmwares)
		if err != nil {
			return facts, err
		}
		if facts.microcode = len(microcode) > 0; facts.microcode {
			if err := packPlain(w, microcode); err != nil {
				return facts, err
			}
		}
	}
	return facts, pack(w, records)
}

// libDir is a directory of a root's /lib, which in Debian is a link to /usr/lib.
func libDir(root *os.Root, name string) fs.FS {
	dir := "usr/lib/" + name
	if _, err := root.Stat(dir); err != nil {
		dir = "lib/" + name
	}
	sub, _ := fs.Sub(root.FS(), path.Clean(dir)) // it fails for invalid paths only
	return sub
}

// partSize is how many bytes of files an archive has before the next one begins. Several are compressed at once,
// which halves the time that the initrd of a machine takes, and costs half a percent in size.
const partSize = 24 << 20

// pack writes the records as cpio archives in zstd, one behind the other: the kernel reads them all.
func pack(w io.Writer, records []cpio.Record) error {
	var parts [][]cpio.Record
	size := uint64(partSize)
	for _, r := range withParents(records) {
		if size += r.FileSize; size >= partSize {
			parts, size = append(parts, nil), 0
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], r)
	}
	packed := make([]bytes.Buffer, len(parts))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, part := range parts {
		g.Go(func() error { return compressed(&packed[i], part) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	padded := &countWriter{w: w}
	for i := range packed {
		if _, err := packed[i].WriteTo(padded); err != nil {
			return fmt.Errorf("images: initrd: %w", err)
		}
	}
	if err := padded.pad(); err != nil {
		return fmt.Errorf("images: initrd: %w", err)
	}
	return nil
}

// compressed writes the records as one cpio archive in zstd.
func compressed(w io.Writer, records []cpio.Record) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(initrdWindow), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("images: initrd: %w", err)
	}
	if err := writeRecords(z, records); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("images: initrd: %w", err)
	}
	return nil
}

// writeRecords writes the records as a whole archive.
func writeRecords(w io.Writer, records []cpio.Record) error {
	archive := cpio.Newc.Writer(w)
	err := cpio.WriteRecords(archive, records)
	if err == nil {
		err = cpio.WriteTrailer(archive)
	}
	if err != nil {
		return fmt.Errorf("images: initrd: %w", err)
	}
	return nil
}

// initrdAlign is to what an initrd is padded, with zeros: the kernel reads another archive behind it only at
// a multiple of four, and firmware likes whole sectors.
const initrdAlign = 512

// countWriter knows how much went through it.
type countWriter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// pad writes zeros up to a multiple of initrdAlign.
func (c *countWriter) pad() error {
	_, err := c.Write(make([]byte, (initrdAlign-c.n%initrdAlign)%initrdAlign))
	return err
}

// initrdRecords gives everything but the agent, and the drivers that name firmware which is not there.
func initrdRecords(modules *moduleTree, firmwares fs.FS, release, flavour string) (records []cpio.Record, lacking []string, err error) {
	for _, d := range initrdDirs {
		records = append(records, cpio.Directory(d, 0o755))
	}
	records = append(records,
		cpio.CharDev("dev/console", 0o600, 5, 1), // before the agent mounts /dev it must be able to speak
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.StaticFile(strings.TrimPrefix(ModulesList, "/"), strings.Join(alwaysLoaded, "\n")+"\n", 0o644),
	)
	chosen := modules.choose(wantedModules(flavour))
	indexes, err := modules.indexes(chosen)
	if err != nil {
		return nil, nil, err
	}
	base := "lib/modules/" + release
	for name, content := range indexes {
		records = append(records, cpio.StaticFile(path.Join(base, name), string(content), 0o644))
	}
	contents, err := modules.read(chosen)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for i, file := range chosen {
		records = append(records, fileRecord(path.Join(base, file), contents[i]))
		named := firmware(contents[i])
		found := false
		for _, fw := range named {
			b, err := readFirmware(firmwares, fw)
			if errors.Is(err, fs.ErrNotExist) {
				continue // of another version, or for a card that nobody has any more
			}
			if err != nil {
				return nil, nil, fmt.Errorf("images: firmware: %w", err)
			}
			found = true
			if !seen[fw] {
				seen[fw] = true
				records = append(records, fileRecord("lib/firmware/"+fw, b))
			}
		}
		if len(named) > 0 && !found {
			lacking = append(lacking, moduleName(file))
		}
	}
	slices.Sort(lacking)
	return records, lacking, nil
}

// withParents adds the directories that records lie in and sorts all by name, parents first: the kernel
// drops a file whose directory is not there yet.
func withParents(records []cpio.Record) []cpio.Record {
	byName := map[string]cpio.Record{}
	for _, r := range records {
		byName[r.Name] = r
		for dir := path.Dir(r.Name); dir != "."; dir = path.Dir(dir) {
			if _, has := byName[dir]; !has {
				byName[dir] = cpio.Directory(dir, 0o755)
			}
		}
	}
	sorted := make([]cpio.Record, 0, len(byName))
	for i, name := range slices.Sorted(maps.Keys(byName)) {
		r := byName[name]
		r.Ino, r.NLink = uint64(i+1), 1
		sorted = append(sorted, r)
	}
	return sorted
}

func fileRecord(name string, b []byte) cpio.Record {
	return cpio.Record{ReaderAt: bytes.NewReader(b), Info: cpio.Info{
		Name: name, Mode: cpio.S_IFREG | 0o644, FileSize: uint64(len(b)),
	}}
}

// takeKernel moves the tree's kernel to file and gives its release. There is exactly one.
func takeKernel(tree, file string) (release string, err error) {
	found, err := matches(tree, "boot/vmlinuz-*")
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("images: the tree has %d kernels in /boot, want one: %w", len(found), fs.ErrInvalid)
	}
	if err := os.Rename(found[0], file); err != nil {
		return "", fmt.Errorf("images: %w", err)
	}
	return strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"), os.Chmod(file, 0o644)
}
