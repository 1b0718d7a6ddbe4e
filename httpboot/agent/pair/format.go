package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// label is the file system's. servedFile on it says that it was exported at some time: it is never made anew.
const (
	label      = "muster-pair"
	nfsDir     = Volume + "/.nfs"
	musterDir  = Volume + "/.muster"
	servedFile = musterDir + "/served"
	keptFile   = musterDir + "/contents.json"
)

// formatTime is for mkfs, which writes through the network to two disks.
const formatTime = 30 * time.Minute

// format makes the file system of a new pair. Repeating it is harmless: nothing was ever served.
func (d *Daemon) format(ctx context.Context, o Orders, r Report) (bool, error) {
	m := &d.machine
	s := m.drbd()
	if o.Format && s.role == "Primary" {
		return m.leaveVolume(ctx)
	}
	if !o.Format || s.connection != "Connected" || s.role != "Secondary" || s.peerRole != "Secondary" {
		return false, nil
	}
	d.Console.Say("storage pair: the new pair's file system is made")
	if s.disk == "Inconsistent" && s.peerDisk == "Inconsistent" {
		// Both sides are blank: there is nothing to copy.
		if err := m.drbdadm(ctx, "--", "--clear-bitmap", "new-current-uuid", Resource); err != nil {
			return false, err
		}
		s = m.drbd()
	}
	if s.disk != "UpToDate" || s.peerDisk != "UpToDate" {
		return false, fmt.Errorf("the disks of the new pair are %s/%s, not UpToDate/UpToDate", s.disk, s.peerDisk)
	}
	if err := m.drbdadm(ctx, "primary", Resource); err != nil {
		return false, err
	}
	err := m.makeVolume(ctx)
	if back := m.drbdadm(ctx, "secondary", Resource); err == nil {
		err = back
	}
	if err != nil {
		return false, err
	}
	if err := d.Server.Call(ctx, callTime, OpMade, nil, nil); err != nil {
		return false, fmt.Errorf("the file system is made, and the boot server has not noted it: %w", err)
	}
	return true, nil
}

// leaveVolume frees what a daemon that was ended while it made the file system has left in use.
func (m *machine) leaveVolume(ctx context.Context) (done bool, err error) {
	if _, ok := m.mounted(Volume); ok {
		if err := m.sys.Unmount(m.path(Volume)); err != nil {
			return false, err
		}
	}
	err = m.drbdadm(ctx, "secondary", Resource)
	return err == nil, err
}

// makeVolume makes the file system and what every pair has on it. Nothing of it stays mounted.
func (m *machine) makeVolume(ctx context.Context) error {
	device := m.path(Device)
	if err := m.mayFormat(ctx); err != nil {
		return err
	}
	// No discards: DRBD 8.4 writes zeros for them where the disks can't. The inode tables are made later, by the
	// kernel; on a small volume now, so that nothing is written behind anybody's back.
	lazy := "nodiscard"
	if size, err := deviceSize(device); err == nil && size < 16<<30 {
		lazy += ",lazy_itable_init=0,lazy_journal_init=0"
	}
	if _, err := m.run(ctx, formatTime, "mkfs.ext4", "-q", "-F", "-L", label, "-m", "1", "-E", lazy, device); err != nil {
		return err
	}
	if err := m.mountVolume(ctx); err != nil {
		return err
	}
	err := m.furnish()
	unix.Sync()
	return errors.Join(err, m.sys.Unmount(m.path(Volume)))
}

// mayFormat looks whether the volume is blank, or has a file system of ours that was never served: the boot server may
// have lost its memory. What can't be seen is not made anew.
func (m *machine) mayFormat(ctx context.Context) error {
	out, err := m.run(ctx, time.Minute, "blkid", "-p", "-s", "LABEL", "-o", "value", m.path(Device))
	if exit, ok := errors.AsType[*ExitError](err); ok && exit.Code == 2 {
		return nil // nothing is on it
	}
	switch {
	case err != nil:
		return fmt.Errorf("what the volume carries is not known, and nothing is made on it: %w", err)
	case out != label:
		return fmt.Errorf("the volume carries something that is not the pair's (labelled %q), and nothing is made on it: %w", out, fs.ErrExist)
	}
	return m.neverServed(ctx)
}

// neverServed mounts an older file system of ours and looks.
func (m *machine) neverServed(ctx context.Context) error {
	err := m.mountVolume(ctx)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) {
		return nil // a file system that was not finished
	} else if err != nil {
		return fmt.Errorf("whether the volume has been served is not known, and it is not made anew: %w", err)
	}
	served := m.flag(servedFile)
	if err := m.sys.Unmount(m.path(Volume)); err != nil {
		return err
	}
	if served {
		return fmt.Errorf("the volume has been served and is not made anew, whatever the boot server believes: %w", fs.ErrExist)
	}
	return nil
}

// mountVolume mounts the volume. Its device may be busy for a moment after the promotion: udev looks at it. A file system
// that finds itself broken becomes read-only, which the resource agent's monitor sees.
func (m *machine) mountVolume(ctx context.Context) error {
	if err := os.MkdirAll(m.path(Volume), 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	for try := 0; ; try++ {
		err := m.sys.Mount(m.path(Device), m.path(Volume), "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, "errors=remount-ro")
		if err == nil || try == 20 || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EMEDIUMTYPE) {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// furnish makes the directories of a new volume. What Debian's packages have in /var/lib/nfs is the start of the
// NFS server's memory.
func (m *machine) furnish() error {
	for _, dir := range []string{Volume + "/images", Volume + "/volumes", Volume + "/state", musterDir, nfsDir, nfsDir + "/nfsdcld"} {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
	}
	for _, file := range []string{"etab", "rmtab", "state", "export-lock"} {
		b, err := os.ReadFile(m.path("/var/lib/nfs/" + file))
		if err == nil {
			err = os.WriteFile(filepath.Join(m.path(nfsDir), file), b, 0o644)
		}
		if gone(err) != nil {
			return fmt.Errorf("pair: %w", err)
		}
	}
	return nil
}

func deviceSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, 2)
}
