package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// paxACL begins the PAX records that hold ACLs as text, which only tar --acls writes. They name users as the machine
// does that made the archive. The extended attributes hold them in numbers.
const paxACL = "SCHILY.acl."

// paxXattr begins the PAX records that hold extended attributes (star's, and everybody's since).
const paxXattr = "SCHILY.xattr."

// Meta is what a file has beside its name and its content.
type Meta struct {
	// UID and GID are numbers: names of the host mean nothing in a root.
	UID, GID int
	// Mode has the permission bits with setuid, setgid and sticky: 0o7777.
	Mode uint32
	// Time is the time of the last change of the content.
	Time time.Time
	// Xattrs are the extended attributes, file capabilities among them.
	Xattrs map[string]string
}

// metaOf reads a header.
func metaOf(h *tar.Header) (Meta, error) {
	// -1 would leave the owner as it is (chown(2)).
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32 {
		return Meta{}, fmt.Errorf("has the owner %d:%d: %w", h.Uid, h.Gid, fs.ErrInvalid)
	}
	m := Meta{UID: h.Uid, GID: h.Gid, Mode: uint32(h.Mode) & 0o7777, Time: h.ModTime}
	for key, value := range h.PAXRecords {
		if name, is := strings.CutPrefix(key, paxXattr); is {
			if m.Xattrs == nil {
				m.Xattrs = map[string]string{}
			}
			m.Xattrs[name] = value
		}
	}
	return m, nil
}

// Set gives name in dir its owner, mode, extended attributes and time, in the order in which one does not undo
// the other. It never follows name. kind is the file's type, as in st_mode. What cannot be kept here and has no
// meaning on another machine is told to lost.
func (m Meta) Set(dir int, name string, kind uint32, lost func(xattr string, err error)) error {
	if err := unix.Fchownat(dir, name, m.UID, m.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	at := pathAt(dir, name)
	if kind != unix.S_IFLNK { // a link has no mode
		if err := m.disinherit(at, kind); err != nil {
			return err
		}
		if err := unix.Fchmodat(dir, name, m.Mode, 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	for key, value := range m.Xattrs {
		if foreign(key) {
			continue
		}
		err := unix.Lsetxattr(at, key, []byte(value), 0)
		if err != nil && label(key) && (errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL)) {
			lost(key, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", key, err)
		}
	}
	return m.SetTime(dir, name)
}

// The attributes that a new file has from its directory, where that has a default ACL (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// disinherit removes the ACLs that a file has from its directory and not of its own. Its mode comes afterwards.
func (m Meta) disinherit(at string, kind uint32) error {
	for _, acl := range []string{accessACL, defaultACL} {
		if _, own := m.Xattrs[acl]; own || acl == defaultACL && kind != unix.S_IFDIR {
			continue
		}
		err := unix.Lremovexattr(at, acl)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("extended attribute %s: %w", acl, err)
		}
	}
	return nil
}

// SetTime sets the time alone: what is put into a directory afterwards changes it.
func (m Meta) SetTime(dir int, name string) error {
	t, err := unix.TimeToTimespec(m.Time)
	if err != nil {
		t = unix.Timespec{} // beyond what Linux can say
	}
	if err := unix.UtimesNanoAt(dir, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	return nil
}

// MetaAt reads that of name in dir, never following it, together with the rest of what lstat(2) knows.
func MetaAt(dir int, name string) (Meta, unix.Stat_t, error) {
	st, err := lstatat(dir, name)
	if err != nil {
		return Meta{}, st, err
	}
	m := Meta{UID: int(st.Uid), GID: int(st.Gid), Mode: st.Mode & 0o7777, Time: time.Unix(st.Mtim.Unix())}
	at := pathAt(dir, name)
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(at, names)
	if errors.Is(err, unix.ENOTSUP) {
		return m, st, nil
	}
	if err != nil {
		return m, st, fmt.Errorf("extended attributes: %w", err)
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for key := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if key == "" || foreign(key) {
			continue
		}
		v, err := unix.Lgetxattr(at, key, value)
		if err != nil {
			return m, st, fmt.Errorf("extended attribute %s: %w", key, err)
		}
		if m.Xattrs == nil {
			m.Xattrs = map[string]string{}
		}
		m.Xattrs[key] = string(value[:v])
	}
	return m, st, nil
}

// pathAt is a path for the calls on extended attributes, which have no *at form before Linux 6.13: the
// directory's own link is as good.
func pathAt(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

// foreign are attributes that only their own file system understands: by which another machine's overlayfs keeps its
// books, the ACLs of NFS version 4 and SMB, whose gist the mode has, and what btrfs is told.
func foreign(xattr string) bool {
	for _, prefix := range []string{"trusted.overlay.", "user.overlay.", "system.nfs4_", "system.cifs_", "system.smb3_", "btrfs."} {
		if strings.HasPrefix(xattr, prefix) {
			return true
		}
	}
	return false
}

// label are attributes of security modules that only a machine that runs them can set.
func label(xattr string) bool {
	return slices.Contains([]string{"security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64"}, xattr)
}

// clearXattrs removes the attributes of a directory that its new entry does not have.
func clearXattrs(fd int, keep map[string]string) error {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(fd, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if _, has := keep[name]; has || name == "" || label(name) || foreign(name) {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return nil
}
