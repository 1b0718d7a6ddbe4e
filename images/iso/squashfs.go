package iso

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"muster/images"
	"muster/images/unpack"
)

// squashfs is one inside of an ISO.
type squashfs struct {
	offset int64
	inodes int // as its superblock says
}

// squashfs reads a file's superblock.
func (d *disc) squashfs(e entry) (squashfs, error) {
	head := make([]byte, 96)
	if _, err := d.f.ReadAt(head, e.offset); err != nil || string(head[:4]) != "hsqs" {
		return squashfs{}, fmt.Errorf("it is not a squashfs: %w", fs.ErrInvalid)
	}
	if major := binary.LittleEndian.Uint16(head[28:]); major != 4 {
		return squashfs{}, fmt.Errorf("it is a squashfs of version %d, and only 4 is known: %w", major, fs.ErrInvalid)
	}
	// Of a file over 4 GB a directory's entry has a part only, but the parts lie behind each other.
	if end := e.offset + int64(binary.LittleEndian.Uint64(head[40:])); end < e.offset || end > d.size {
		return squashfs{}, fmt.Errorf("it is cut off: %w", fs.ErrInvalid)
	}
	return squashfs{offset: e.offset, inodes: int(binary.LittleEndian.Uint32(head[4:]))}, nil
}

// unpack puts its files into dir.
func (s squashfs) unpack(ctx context.Context, file, dir string, o images.FillOptions) error {
	offset := strconv.FormatInt(s.offset, 10)
	var out bytes.Buffer
	if err := run(ctx, &out, io.Discard, "-no-progress", "-o", offset, "-ls", file, "LiveOS/rootfs.img"); err == nil && strings.Contains(out.String(), "/LiveOS/rootfs.img") {
		return fmt.Errorf("its squashfs holds the root as an image of another file system, LiveOS/rootfs.img, which cannot be read: unpack it by hand (mount -o loop) and use dir: %w", errors.ErrUnsupported)
	}
	var said bytes.Buffer
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	lines := &lineCounter{total: s.inodes, tell: o.Progress, prefix: dir, disk: int(to.Fd())}
	err = run(ctx, lines, io.MultiWriter(&said, o.Log), "-no-progress", "-info", "-f", "-d", dir, "-o", offset, file)
	switch {
	case lines.full != nil:
		return lines.full
	case err == nil || ctx.Err() != nil:
		return err
	}
	full := unix.Statfs_t{}
	if unix.Statfs(dir, &full) == nil && full.Bavail == 0 {
		err = unix.ENOSPC
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
	return fmt.Errorf("unsquashfs: %s: %w", first, err)
}

// run runs unsquashfs, and ends it with ctx and with this process.
func run(ctx context.Context, stdout, stderr io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "unsquashfs", args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The kernel sends Pdeathsig when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lineCounter makes progress of unsquashfs's list of files. It ends unsquashfs, whose output it is, when the disk is
// about to be full.
type lineCounter struct {
	total, done, percent int
	tell                 func(int, string)
	prefix               string
	rest                 []byte
	disk                 int   // a file on it
	full                 error // set when it is
}

// aPiece is more than unsquashfs writes between two pieces of its list, but for the largest files.
const aPiece = 64 << 20

// Write implements io.Writer.
func (l *lineCounter) Write(b []byte) (int, error) {
	if l.full = (&unpack.Space{}).Spend(l.disk, aPiece); l.full != nil {
		return 0, l.full
	}
	l.rest = append(l.rest, b...)
	for {
		n, line, err := bufio.ScanLines(l.rest, false)
		if err != nil || n == 0 {
			break
		}
		if bytes.HasPrefix(line, []byte(l.prefix)) {
			l.done++
		}
		if p := min(l.done, l.total) * 100 / max(l.total, 1); p > l.percent {
			l.percent = p
			l.tell(p, fmt.Sprintf("unpacking: %d of %d files", l.done, l.total))
		}
		l.rest = l.rest[n:]
	}
	return len(b), nil
}
