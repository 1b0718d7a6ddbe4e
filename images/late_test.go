package images

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// units makes a root with some of Debian's units.
func units(t *testing.T, more map[string]string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	files := map[string]string{
		unitDir + "/multi-user.target": "", unitDir + "/sysinit.target.wants/systemd-udev-trigger.service": "",
		unitDir + "/sysinit.target.wants/systemd-udevd.service": "", unitDir + "/sysinit.target.wants/systemd-journald.service": "",
		unitDir + "/sockets.target.wants/systemd-udevd-kernel.socket":      "",
		unitDir + "/multi-user.target.wants/systemd-logind.service":        "",
		unitDir + "/multi-user.target.wants/systemd-user-sessions.service": "",
		"etc/modules": "# comments\n", "etc/modules-load.d/modules.conf": "", "etc/init.d/procps": "", unitDir + "/procps.service": "",
	}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func there(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

func TestPutOff(t *testing.T) {
	const wants = unitDir + "/sysinit.target.wants/"
	const generator = "etc/systemd/system-generators/systemd-"
	for _, tt := range []struct {
		name       string
		services   []string
		more       map[string]string
		has, lacks []string
	}{
		{
			name: "as it comes",
			has: []string{wants + "systemd-journald.service", unitDir + "/late.service", generator + "sysv-generator",
				generator + "cryptsetup-generator", unitDir + "/systemd-logind.service.d/10-late.conf"},
			lacks: []string{wants + "systemd-udev-trigger.service", wants + "systemd-udevd.service", "etc/modules-load.d/modules.conf",
				unitDir + "/sockets.target.wants/systemd-udevd-kernel.socket", unitDir + "/multi-user.target.wants/systemd-logind.service"},
		},
		{
			name: "a role that needs its devices at once", services: []string{"systemd-udev-trigger.service"},
			has:   []string{wants + "systemd-udev-trigger.service", wants + "systemd-udevd.service", unitDir + "/sockets.target.wants/systemd-udevd-kernel.socket"},
			lacks: []string{unitDir + "/multi-user.target.wants/systemd-logind.service"},
		},
		{
			name: "a role that names a unit without .service", services: []string{"systemd-logind"},
			has:   []string{unitDir + "/multi-user.target.wants/systemd-logind.service"},
			lacks: []string{unitDir + "/systemd-logind.service.d/10-late.conf", unitDir + "/multi-user.target.wants/systemd-user-sessions.service"},
		},
		{
			name: "work for the generators", more: map[string]string{"etc/crypttab": "x /dev/sda\n", "etc/init.d/old": "#!/bin/sh\n", "etc/modules": "loop\n"},
			has:   []string{generator + "veritysetup-generator", "etc/modules-load.d/modules.conf"},
			lacks: []string{generator + "cryptsetup-generator", generator + "sysv-generator"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := units(t, tt.more)
			if err := putOff(root, tt.services); err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.has {
				if !there(root, name) {
					t.Errorf("%s is gone", name)
				}
			}
			for _, name := range tt.lacks {
				if there(root, name) {
					t.Errorf("%s is there", name)
				}
			}
			b, err := root.ReadFile(unitDir + "/late.service")
			if early := slices.Contains(tt.services, "systemd-udev-trigger.service"); err != nil || strings.Contains(string(b), "udevadm") == early {
				t.Errorf("late.service, err %v:\n%s", err, b)
			}
			if target, err := root.Readlink("etc/systemd/system/default.target"); err != nil || !strings.HasSuffix(target, "/late.target") {
				t.Errorf("default target: %q, %v", target, err)
			}
		})
	}
}

func TestPutOffLeavesOthersAlone(t *testing.T) {
	root := units(t, map[string]string{"etc/systemd/system/default.target": "[Unit]\n"})
	if err := putOff(root, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := root.ReadFile("etc/systemd/system/default.target"); err != nil || string(b) != "[Unit]\n" {
		t.Errorf("the overlay's default target: %q, %v", b, err)
	}
	other, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := putOff(other, nil); err != nil {
		t.Fatal(err)
	}
	if there(other, "etc") || there(other, "usr") {
		t.Error("a root without systemd was changed")
	}
}
