package statetest

import (
	"fmt"
	"net/netip"
	"time"

	"muster/images"
	"muster/roles"
)

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	addr = netip.MustParseAddr
)

func mac(n int) roles.MAC {
	return roles.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)}
}

func slot(pool string, n int) roles.Slot {
	return roles.Slot{Name: fmt.Sprintf("%s-%02d", pool, n), Pool: pool, Number: n,
		Address: netip.AddrFrom4([4]byte{10, 77, byte(len(pool)), byte(n)})}
}

// FullRole and its like have every field set, so that a field that is not stored shows.
func FullRole() roles.Role {
	return roles.Role{
		Name: "web", Description: "a page", Image: "nginx", Root: roles.RootRAM, Cmdline: "quiet",
		Volumes: []roles.VolumeMount{{Name: "www", Mount: "/srv/www", ReadOnly: true}},
		State:   []string{"/var/lib/web"},
		Vars:    map[string]any{"title": "a page", "hosts": []any{"a", "b"}},
		Files: []roles.File{{Path: "/etc/motd", Mode: 0o640, Owner: "www-data:www-data", Content: "{{.Name}}",
			Reload: []string{"nginx.service"}}},
		Secrets: []roles.SecretSpec{{Name: "tls", Kind: roles.SecretTLS, Scope: "pool", Length: 9, Names: []string{"{{.FQDN}}"}}},
		Health: &roles.Health{
			HTTP: &roles.HTTPCheck{Port: 80, Path: "/", Host: "h"}, TCP: &roles.TCPCheck{Port: 1},
			NTP: &roles.NTPCheck{Port: 123}, SMTP: &roles.SMTPCheck{Port: 25}, IMAP: &roles.IMAPCheck{Port: 143},
			DNS: &roles.DNSCheck{Port: 53, Name: "web.test.", Type: "A"}, Interval: roles.Duration(time.Second),
			Timeout: roles.Duration(2 * time.Second), Failures: 4,
		},
		Recipe: images.Recipe{From: "dir:/srv", Packages: []string{"nginx"}, Services: []string{"nginx"}, Kernel: "cloud",
			Suite: "bookworm", Mirror: "http://mirror.test", Sources: []string{"deb http://mirror.test b main"},
			Keys: []string{"/k"}, Hooks: []string{"true"}, Overlay: "/o"},
	}
}

// FullPool: see FullRole.
func FullPool() roles.Pool {
	return roles.Pool{
		Name: "web", Role: "web", Size: roles.Size{Min: 1, Max: 20},
		Addresses: roles.AddressRange{First: addr("10.77.0.20"), Last: addr("10.77.0.39")},
		Match: &roles.Match{
			Arch: []string{"x86_64"}, Firmware: []string{"uefi"}, MAC: []string{"52:*"}, UUID: []string{"*"},
			Manufacturer: []string{"m"}, Product: []string{"p"}, Serial: []string{"s"},
			Subnet:  []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")},
			Circuit: []string{"c"}, Remote: []string{"r"}, Labels: map[string]string{"rack": "a1"},
			MemoryMin: 1, CPUMin: 2,
		},
		Priority: 10, Image: "web:7", Vars: map[string]any{"title": "another"}, Takeover: roles.Duration(time.Minute),
		Pair:    &roles.PairSpec{Address: addr("10.77.0.9"), Disk: roles.DiskRule{Path: "/dev/sdb", Serial: "S*", SizeMin: 0.5}, BackupAge: roles.Duration(time.Hour)},
		Storage: "storage",
	}
}

// FullNode: see FullRole. Name is not set: it is derived.
func FullNode() roles.Node {
	return roles.Node{
		MAC: mac(1), Pool: "web", Assigned: true, Slot: "web-09", WantSlot: "web-09", Address: addr("10.77.0.150"),
		State: roles.StateReady, Since: noon, Why: "assigned", Joined: "by its rule", Released: true, Match: []string{"arch x86_64: yes"},
		Replaced: &roles.Replacement{Slot: "web-02", By: mac(2), At: noon},
		Labels:   map[string]string{"rack": "a1"}, Power: &roles.Power{Driver: "lab", Target: "m1"},
		Facts: roles.Facts{
			Arch: "x86_64", Firmware: "bios", UUID: "u", Manufacturer: "m", Product: "p", Serial: "s", Asset: "a",
			Address: addr("10.77.0.150"), Circuit: "c", Remote: "r",
			Inventory: &roles.Inventory{Memory: 512, CPUs: 2, CPU: "cpu",
				NICs:  []roles.NIC{{Name: "eth0", MAC: mac(1), Driver: "virtio_net", Speed: 1000, Link: true}},
				Disks: []roles.Disk{{Name: "sda", Size: 1, Model: "m", Serial: "s"}}},
		},
		Image: "web:7", Storage: "storage", Restart: "rollout", Sync: true, Files: "f00", Boot: 3, FirstSeen: noon, LastSeen: noon, Failures: 2,
	}
}

// FullBoot: see FullRole. Events is not set: they are appended.
func FullBoot() roles.Boot {
	return roles.Boot{ID: 3, Node: mac(1), Started: noon, Ended: noon.Add(time.Minute), Ready: true,
		Step: roles.StepReady, Image: "web:7", Slot: "web-01", Token: "secret", Claim: "hash", Kernel: "6.1.0-39-amd64",
		Up: noon, Taken: 12, Address: addr("10.77.0.150")}
}

// FullSecret: see FullRole.
func FullSecret() roles.Secret {
	return roles.Secret{Key: "slot/web-01/ssh", Kind: roles.SecretSSH, Value: []byte("half\x00known"), Public: "ssh-ed25519 AAAA",
		Made: noon, Given: true}
}

// FullRollout: see FullRole.
func FullRollout() roles.Rollout {
	return roles.Rollout{
		Pool: "web", From: images.Ref{Name: "web", Version: 7}, Image: images.Ref{Name: "web", Version: 8}, Pin: "web:7",
		Canary: 1, Batch: 2, Timeout: roles.Duration(time.Minute), State: roles.RolloutFailed, Why: "web-01 failed; repair it",
		Started: noon, Ended: noon.Add(time.Hour), Slots: []roles.RolloutSlot{{Name: "web-01", State: "failed", Since: noon}},
		Cause: "web-01 failed", Ailing: []string{"web-01"},
	}
}

// FullPair: see FullRole.
func FullPair() roles.Pair {
	return roles.Pair{
		Pool: "web", Made: noon, Disks: map[string]roles.PairDisk{"web-01": {Serial: "S1", Meta: "1f", Whole: true, Since: noon}},
		Claims: map[string]string{"web-02": "S2"}, Outdated: "web-02", OutdatedBy: "web-01", OutdatedFrom: noon,
		Fenced: map[string]time.Time{"web-02": noon}, Shooter: "web-01", ShotAt: noon, Active: "web-01", Before: "web-02", At: noon, Took: roles.Duration(time.Second),
		Promoted: "web-01", PromotedAt: noon, Keep: "web-01", Standby: []string{"web-02"}, Verify: noon,
		Backup:       roles.PairBackup{At: noon, Took: roles.Duration(time.Second), Size: 7, To: "vault:/b", From: "web-01"},
		BackupFailed: roles.PairBackup{At: noon, From: "web-01", Why: "no memory"},
	}
}

// Fill puts one of everything and an event.
func Fill(tx roles.Tx) error {
	s := slot("web", 1)
	s.Node, s.Since, s.Used = mac(7), noon, true
	n := FullNode()
	n.MAC = mac(7)
	b := FullBoot()
	b.Node = mac(7)
	_, err := tx.Append(roles.Event{Time: noon, Node: mac(7), Name: "web-01", Boot: 3, Step: roles.StepReady,
		Message: "serving", Error: "none"})
	for _, e := range []error{
		tx.Roles().Put(FullRole()), tx.Pools().Put(FullPool()), tx.Slots().Put(s), tx.Slots().Put(slot("web", 2)),
		tx.Nodes().Put(n), tx.Nodes().Put(FullNode()), tx.Boots().Put(b), tx.Secrets().Put(FullSecret()),
		tx.Rollouts().Put(FullRollout()), tx.Pairs().Put(FullPair()),
	} {
		if err == nil {
			err = e
		}
	}
	return err
}
