package pair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// layerName is the device between DRBD and its disk, copyName that of a snapshot of it.
const (
	layerName = "muster-pair"
	copyName  = "muster-copy"
)

// noLayer has the reason why DRBD has its disk without the layer.
const noLayer = RunDir + "/nolayer"

// layer gives the device by which DRBD gets a disk: one that maps every block to the same one of the disk, and costs
// nothing until a snapshot is taken of it. It is put there before DRBD has the disk, since it could not be later. The pair
// does not depend on it: where it can't be had, DRBD gets the disk itself, and there are no snapshots on this half.
func (m *machine) layer(ctx context.Context, d disk) string {
	device, err := m.makeLayer(ctx, d)
	if err != nil {
		_ = m.write(noLayer, []byte(err.Error()+"\n"), 0o600) // only said when somebody wants a snapshot
		return d.device
	}
	os.Remove(m.path(noLayer))
	return device
}

func (m *machine) makeLayer(ctx context.Context, d disk) (string, error) {
	dm, ok := m.sys.(Mapper)
	if !ok || d.size < 512 {
		return "", errors.New("pair: there is no device mapper")
	}
	if err := m.module(ctx, "dm-mod", "/sys/class/misc/device-mapper"); err != nil {
		return "", err
	}
	if s, err := dm.MapStatus(layerName); err == nil {
		if m.beneathLayer(s.device) == d.device && s.target == "linear" && !s.suspended {
			return s.device, nil
		}
		if err := m.unlayer(ctx); err != nil {
			return "", err
		}
	}
	if err := dm.MapCreate(layerName, d.linear()); err != nil {
		return "", err
	}
	s, err := dm.MapStatus(layerName)
	if err == nil {
		err = dm.MapResume(layerName)
	}
	if err == nil {
		_, err = os.Stat(m.path(s.device))
	}
	if err != nil {
		return "", errors.Join(err, dm.MapRemove(layerName))
	}
	return s.device, nil
}

// linear is the table of the layer.
func (d disk) linear() mapTable { return mapTable{d.size / 512, "linear", d.device + " 0"} }

// origin is its table while there is a snapshot.
func (d disk) origin() mapTable { return mapTable{d.size / 512, "snapshot-origin", d.device} }

// unlayer takes the layer away, when DRBD does not have it. No layer is as good.
func (m *machine) unlayer(ctx context.Context) error {
	dm, ok := m.sys.(Mapper)
	if !ok {
		return nil
	}
	if err := removeMapped(ctx, dm, layerName); err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// beneathLayer gives the disk that a device of ours maps; any other device is itself.
func (m *machine) beneathLayer(device string) string {
	name := filepath.Base(device)
	if !strings.HasPrefix(name, "dm-") {
		return device
	}
	lower, err := os.ReadDir(m.path("/sys/block/" + name + "/slaves"))
	if err != nil || len(lower) != 1 {
		return device
	}
	return "/dev/" + lower[0].Name()
}

// layered gives the disk that DRBD has by the layer. The error says why it has none so.
func (m *machine) layered() (disk, error) {
	target, err := os.Readlink(m.path(DiskLink))
	if err != nil {
		return disk{}, fmt.Errorf("pair: which disk DRBD has is not known: %w", err)
	}
	device := m.beneathLayer(target)
	if device == target {
		why := m.word(noLayer)
		if why == "" {
			why = "it was brought up without"
		}
		return disk{}, fmt.Errorf("DRBD has %s without the layer that snapshots need (%s)", target, why)
	}
	for _, d := range m.disks() {
		if d.device == device {
			return d, nil
		}
	}
	return disk{}, fmt.Errorf("pair: %s is no disk of this machine", device)
}
