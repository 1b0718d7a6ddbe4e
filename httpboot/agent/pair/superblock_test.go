package pair

import (
	"encoding/binary"
	"hash/crc32"
)

// lvmLabel is the label of an LVM2 physical volume, as pvcreate writes it into the second sector.
func lvmLabel() []byte {
	b := make([]byte, 512)
	copy(b, "LABELONE")
	binary.LittleEndian.PutUint64(b[8:], 1)   // its sector
	binary.LittleEndian.PutUint32(b[20:], 32) // where the header begins
	copy(b[24:], "LVM2 001")
	copy(b[32:], "abcdefghijklmnopqrstuvwxyz012345")
	// LVM's CRC begins with a value of its own and is not inverted at the end.
	binary.LittleEndian.PutUint32(b[16:], ^crc32.Update(^uint32(0xf597a6cf), crc32.IEEETable, b[20:]))
	return b
}

// raidSuperblock is one of Linux MD, version 1.2, 4 KiB from the start.
func raidSuperblock() []byte {
	b := make([]byte, 256+2)
	le := binary.LittleEndian
	le.PutUint32(b[0:], 0xa92b4efc)
	le.PutUint32(b[4:], 1)
	copy(b[16:], "0123456789abcdef") // the array's uuid
	copy(b[32:], "rack:0")
	le.PutUint32(b[72:], 1)      // level
	le.PutUint64(b[80:], 1<<10)  // size
	le.PutUint32(b[92:], 2)      // disks
	le.PutUint64(b[128:], 2048)  // where the data begin
	le.PutUint64(b[136:], 1<<10) // and their size
	le.PutUint64(b[144:], 8)     // where this is, in sectors
	le.PutUint32(b[220:], 1)
	sum := uint64(0)
	for i := 0; i < 256; i += 4 {
		sum += uint64(le.Uint32(b[i:]))
	}
	sum += uint64(le.Uint16(b[256:]))
	le.PutUint32(b[216:], uint32(sum)+uint32(sum>>32))
	return b
}
