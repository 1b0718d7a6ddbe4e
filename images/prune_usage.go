package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// usage tells what removing directories frees, one after the other.
type usage struct {
	// gone counts the names, of files with several, that removals would have taken away.
	gone map[inode]uint64
}

type inode struct{ dev, ino uint64 }

// freed is how many bytes the disk gains when dir is removed after all others that it was asked about. What
// is shared with reflinks, or has names elsewhere, is not counted.
func (u *usage) freed(dir string) (int64, error) {
	if u.gone == nil {
		u.gone = map[inode]uint64{}
	}
	clones := hasClones(dir)
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we look
		}
		if err != nil {
			return err
		}
		if !d.IsDir() && st.Nlink > 1 {
			id := inode{st.Dev, st.Ino}
			if u.gone[id]++; u.gone[id] < st.Nlink {
				return nil
			}
		}
		total += st.Blocks * 512
		if clones && d.Type().IsRegular() && st.Blocks > 0 {
			total -= min(sharedBytes(path), st.Blocks*512)
		}
		return nil
	})
	return total, err
}

// hasClones says whether the file system is one in which files share blocks.
func hasClones(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	return slices.Contains([]int64{unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, 0xca451a4e /* bcachefs */}, int64(st.Type))
}

// fiemap is the kernel's struct fiemap with room for some extents (linux/fiemap.h).
type fiemap struct {
	start, length                        uint64
	flags, mapped, extentCount, reserved uint32
	extents                              [64]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const (
	ioctlFiemap  = 0xc020660b // FS_IOC_FIEMAP
	extentLast   = 0x1        // FIEMAP_EXTENT_LAST
	extentShared = 0x2000     // FIEMAP_EXTENT_SHARED
)

// sharedBytes is how much of a file's extents other files have as well; 0 when that cannot be told.
func sharedBytes(path string) int64 {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	shared := int64(0)
	m := fiemap{length: ^uint64(0)}
	for {
		m.length, m.extentCount, m.mapped = ^uint64(0)-m.start, uint32(len(m.extents)), 0
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlFiemap, uintptr(unsafe.Pointer(&m)))
		if errno != 0 || m.mapped == 0 {
			return shared
		}
		for _, e := range m.extents[:m.mapped] {
			if e.flags&extentShared != 0 {
				shared += int64(e.length)
			}
			if e.flags&extentLast != 0 {
				return shared
			}
			m.start = e.logical + e.length
		}
	}
}
