package pair

import (
	"context"
	"fmt"
	"os"
	"time"
)

// link makes DiskLink lead to the disk, for drbdadm, and sees to it that DRBD is there: without it drbdadm would take
// it for another version, whose metadata are others.
func (m *machine) link(ctx context.Context, d disk) error {
	if err := m.module(ctx, "drbd", "/proc/drbd"); err != nil {
		return err
	}
	link, device := m.path(DiskLink), m.layer(ctx, d)
	if have, err := os.Readlink(link); err == nil && have == device {
		return nil
	}
	tmp := link + ".new"
	os.Remove(tmp)
	if err := os.Symlink(device, tmp); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if err := os.Rename(tmp, link); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
}

// module loads a kernel module, unless what it makes is there.
func (m *machine) module(ctx context.Context, name, makes string) error {
	if m.flag(makes) {
		return nil
	}
	_, err := m.run(ctx, 30*time.Second, "modprobe", name)
	return err
}
