package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readInventory collects what the kernel shows under root/sys and root/proc. What cannot be read stays
// empty: an inventory never stops a boot.
func readInventory(root string) Inventory {
	dmi := func(name string) string {
		return strings.ToValidUTF8(readWord(filepath.Join(root, "sys/class/dmi/id", name)), "?")
	}
	inv := Inventory{
		UUID: strings.ToLower(dmi("product_uuid")), Manufacturer: dmi("sys_vendor"), Product: dmi("product_name"),
		Serial: dmi("product_serial"), Asset: dmi("chassis_asset_tag"),
		Memory: memory(filepath.Join(root, "proc/meminfo")),
		NICs:   nics(filepath.Join(root, "sys")),
		Disks:  disks(filepath.Join(root, "sys")),
	}
	inv.CPUs, inv.CPU = cpus(filepath.Join(root, "proc/cpuinfo"))
	return inv
}

// memory gives MemTotal in MiB: what the kernel can use, a little less than what is plugged in.
func memory(file string) int {
	kib := 0
	eachLine(file, func(line string) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ = strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
		}
	})
	return kib / 1024
}

// cpus counts hardware threads and names the first one's model.
func cpus(file string) (n int, model string) {
	eachLine(file, func(line string) {
		key, val, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			n++
		case "model name":
			model = strings.TrimSpace(val)
		}
	})
	return n, model
}

// notDisks are block devices without hardware of their own, and optical ones.
var notDisks = []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"}

// disks lists whole disks that have a size.
func disks(sys string) []Disk {
	entries, _ := os.ReadDir(filepath.Join(sys, "block"))
	var out []Disk
next:
	for _, e := range entries {
		for _, p := range notDisks {
			if strings.HasPrefix(e.Name(), p) {
				continue next
			}
		}
		dir := filepath.Join(sys, "block", e.Name())
		sectors, _ := strconv.ParseInt(readWord(filepath.Join(dir, "size")), 10, 64)
		if sectors == 0 { // an empty card reader
			continue
		}
		serial := readWord(filepath.Join(dir, "device/serial"))
		if serial == "" {
			serial = readWord(filepath.Join(dir, "serial")) // virtio
		}
		out = append(out, Disk{
			Name: e.Name(), Size: sectors * 512, // always 512 here, whatever the disk's own blocks
			Model: readWord(filepath.Join(dir, "device/model")), Serial: serial,
		})
	}
	return out
}
