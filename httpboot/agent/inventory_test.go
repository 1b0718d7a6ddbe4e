package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInventory(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"sys/class/dmi/id/product_uuid": "3F2B8A52-0000-4000-8000-525400AA0001\n", "sys/class/dmi/id/sys_vendor": "ACME\n",
		"sys/class/dmi/id/product_name": "R2  \n", "sys/class/dmi/id/product_serial": "47\xff11\n", "sys/class/dmi/id/chassis_asset_tag": "rack 7\n",
		"proc/meminfo": "MemFree: 1 kB\nMemTotal:       16315392 kB\n",
		"proc/cpuinfo": "processor\t: 0\nmodel name\t: Xeon @ 3 GHz\n\nprocessor\t: 1\nmodel name\t: Xeon @ 3 GHz\n",

		"sys/class/net/eth0/address": "02:00:00:00:00:01\n", "sys/class/net/eth0/type": "1\n", "sys/class/net/eth0/speed": "10000\n",
		"sys/class/net/eth0/carrier": "1\n", "sys/class/net/eth0/device": "-> ../../../devices/nic",
		"sys/class/net/eth2/address": "02:00:00:00:00:03\n", "sys/class/net/eth2/type": "1\n", "sys/class/net/eth2/speed": "-1\n",
		"sys/class/net/eth2/device": "-> ../../../devices/nic1", "sys/devices/nic1/driver": "-> ../drivers/igb",
		"sys/devices/nic/driver":   "-> ../drivers/ixgbe",
		"sys/class/net/lo/address": "00:00:00:00:00:00\n", "sys/class/net/lo/type": "772\n",
		"sys/class/net/bond0/address": "02:00:00:00:00:01\n", "sys/class/net/bond0/type": "1\n",
		"sys/class/net/vf/address": "02:00:00:00:00:01\n", "sys/class/net/vf/type": "1\n",
		"sys/class/net/vf/device": "-> ../../../devices/nic", "sys/class/net/vf/master": "-> ../eth0",

		"sys/block/sda/size": "2000\n", "sys/block/sda/device/model": "WD Red\n", "sys/block/sda/device/serial": "S1\n",
		"sys/block/vda/size": "4\n", "sys/block/vda/serial": "V1\n",
		"sys/block/sdb/size": "0\n", "sys/block/loop0/size": "9\n", "sys/block/sr0/size": "9\n", "sys/block/dm-0/size": "9\n",
	})
	want := Inventory{
		UUID: "3f2b8a52-0000-4000-8000-525400aa0001", Manufacturer: "ACME", Product: "R2", Serial: "47?11", Asset: "rack 7",
		Memory: 15933, CPUs: 2, CPU: "Xeon @ 3 GHz",
		NICs: []NIC{
			{Name: "eth0", MAC: "02:00:00:00:00:01", Driver: "ixgbe", Speed: 10000, Link: true},
			{Name: "eth2", MAC: "02:00:00:00:00:03", Driver: "igb"},
		},
		Disks: []Disk{{Name: "sda", Size: 1024000, Model: "WD Red", Serial: "S1"}, {Name: "vda", Size: 2048, Serial: "V1"}},
	}
	if d := cmp.Diff(want, readInventory(root)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Inventory{}, readInventory(t.TempDir())); d != "" {
		t.Errorf("of nothing: %s", d)
	}
}
