package pair

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mapper is the kernel's device mapper. A System that is one too lets DRBD have its disk with a layer in between, of
// which a snapshot can be taken (see machine.layer).
type Mapper interface {
	// MapCreate makes a device with a table that counts when it is resumed.
	MapCreate(name string, t mapTable) error
	// MapLoad gives a device another table, which counts when it is resumed.
	MapLoad(name string, t mapTable) error
	// MapSuspend waits until nothing is under way, and holds back what comes.
	MapSuspend(name string) error
	MapResume(name string) error
	// MapRemove fails with EBUSY while somebody has the device open.
	MapRemove(name string) error
	// MapStatus fails with ENXIO when there is no such device.
	MapStatus(name string) (mapStatus, error)
}

// mapTable is a table of one target: all that this package needs.
type mapTable struct {
	// sectors are of 512 bytes.
	sectors int64
	// target is linear, snapshot-origin or snapshot; params are its own.
	target, params string
}

// mapStatus is what the kernel says of a device.
type mapStatus struct {
	// device is /dev/dm-0.
	device    string
	suspended bool
	// target is that of the table that counts; loaded says that another one waits to.
	target string
	loaded bool
	// text is the target's own; for a snapshot the sectors in use and those that there are, or a word that says that
	// it is none any more.
	text string
}

// The device mapper's interface (Linux, include/uapi/linux/dm-ioctl.h, version 4): a header, then a target's
// specification, then its parameters.
const (
	mapHeader  = 312
	mapSpec    = 40
	mapBuffer  = 4096
	mapCommand = 3<<30 | mapHeader<<16 | 0xfd<<8 // _IOWR(0xfd, …, struct dm_ioctl)

	mapDevCreate   = 3
	mapDevRemove   = 4
	mapDevSuspend  = 6
	mapTableLoad   = 9
	mapTableStatus = 12

	mapSuspendFlag    = 1 << 1
	mapLoadedFlag     = 1 << 6
	mapSkipLockFSFlag = 1 << 10
	// mapQuiet is for udev's rules (libdevmapper.h, in the upper half of the cookie): they look at none of these
	// devices, which would be busy meanwhile, and make no links to them.
	mapQuiet = (1<<1 | 1<<2 | 1<<3) << 16
)

// mapCall makes one call, and gives the kernel's answer in the same buffer.
func mapCall(command uint32, name string, flags uint32, t *mapTable) ([]byte, error) {
	b := make([]byte, mapBuffer)
	order := binary.NativeEndian
	order.PutUint32(b[0:], 4) // version 4.0.0
	order.PutUint32(b[12:], mapBuffer)
	order.PutUint32(b[16:], mapHeader)
	order.PutUint32(b[28:], flags)
	if command != mapTableStatus {
		order.PutUint32(b[36:], mapQuiet)
	}
	copy(b[48:48+127], name)
	if t != nil {
		order.PutUint32(b[20:], 1)
		at := b[mapHeader:]
		order.PutUint64(at[8:], uint64(t.sectors))
		order.PutUint32(at[20:], uint32(mapSpec+(len(t.params)+8)/8*8))
		copy(at[24:24+15], t.target)
		copy(at[mapSpec:], t.params)
	}
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("pair: device mapper: %w", err)
	}
	defer f.Close()
	if err := ioctl(f, mapCommand|command, b); err != nil {
		return nil, fmt.Errorf("pair: device mapper: %s: %w", name, err)
	}
	return b, nil
}

// MapCreate implements Mapper.
func (l Linux) MapCreate(name string, t mapTable) error {
	if _, err := mapCall(mapDevCreate, name, 0, nil); err != nil {
		return err
	}
	err := l.MapLoad(name, t)
	if err != nil {
		_, _ = mapCall(mapDevRemove, name, 0, nil) // what has failed is in err
	}
	return err
}

// MapLoad implements Mapper.
func (Linux) MapLoad(name string, t mapTable) error {
	_, err := mapCall(mapTableLoad, name, 0, &t)
	return err
}

// MapSuspend implements Mapper. No file system lies on the device itself.
func (Linux) MapSuspend(name string) error {
	_, err := mapCall(mapDevSuspend, name, mapSuspendFlag|mapSkipLockFSFlag, nil)
	return err
}

// MapResume implements Mapper.
func (Linux) MapResume(name string) error {
	_, err := mapCall(mapDevSuspend, name, 0, nil)
	return err
}

// MapRemove implements Mapper.
func (Linux) MapRemove(name string) error {
	_, err := mapCall(mapDevRemove, name, 0, nil)
	return err
}

// MapStatus implements Mapper.
func (Linux) MapStatus(name string) (mapStatus, error) {
	b, err := mapCall(mapTableStatus, name, 0, nil)
	if err != nil {
		return mapStatus{}, err
	}
	return parseMapStatus(b), nil
}

func parseMapStatus(b []byte) mapStatus {
	order := binary.NativeEndian
	dev := order.Uint64(b[40:])
	s := mapStatus{
		device:    fmt.Sprintf("/dev/dm-%d", dev&0xff|dev>>12&^0xff),
		suspended: order.Uint32(b[28:])&mapSuspendFlag != 0,
		loaded:    order.Uint32(b[28:])&mapLoadedFlag != 0,
	}
	at := int(order.Uint32(b[16:]))
	if order.Uint32(b[20:]) > 0 && at+mapSpec < len(b) {
		target, _, _ := bytes.Cut(b[at+24:at+mapSpec], []byte{0})
		text, _, _ := bytes.Cut(b[at+mapSpec:], []byte{0})
		s.target, s.text = string(target), strings.TrimSpace(string(text))
	}
	return s
}

// ioctl is ioctl(2) with a buffer.
func ioctl(f *os.File, command uint32, b []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(command), uintptr(unsafe.Pointer(&b[0])))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
