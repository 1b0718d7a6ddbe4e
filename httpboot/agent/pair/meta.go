package pair

import (
	"encoding/binary"
	"fmt"
	"io"
)

// DRBD 8.4's internal metadata: the superblock is the last 4 KiB of the disk, in blocks of that size, and big endian.
// (struct meta_data_on_disk in Linux, drivers/block/drbd/drbd_int.h.)
const (
	metaSize       = 4096
	metaUUIDAt     = 40
	metaFlagsAt    = 56
	metaMagicAt    = 60
	metaMagic      = 0x8374026b // as after a clean stop, and made new
	metaMagicDirty = 0x8374026c // as while it is in use, and after a power cut
	metaMagic9     = 0x8374026d // DRBD 9
)

// readMeta gives the device-uuid of a disk's DRBD metadata in hex, "" for a disk without.
func readMeta(r io.ReaderAt, size int64) (string, error) {
	if size < 2*metaSize {
		return "", nil
	}
	b := make([]byte, metaSize)
	if _, err := r.ReadAt(b, size/metaSize*metaSize-metaSize); err != nil && err != io.EOF {
		return "", err
	}
	switch binary.BigEndian.Uint32(b[metaMagicAt:]) {
	case metaMagic, metaMagicDirty:
		return fmt.Sprintf("%016x", binary.BigEndian.Uint64(b[metaUUIDAt:])), nil
	}
	return "", nil
}
