package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// late.go puts off what a node's service does not wait for: devices that need no driver to boot, logins, and
// units that find nothing to do on a machine without disks. On one that is started a thousand times a year it
// counts: 5.6 s from the root to nginx became 3.2 s (emulated processor). All of it still happens, by late.target, as
// soon as the service runs. A recipe that names one of the units in its services has it where Debian does.

// unitDir is where packages have their units.
const unitDir = "usr/lib/systemd/system"

// unwanted are units that targets ask for and that do nothing here, or that late.target asks for instead.
var unwanted = map[string][]string{
	"sysinit.target": {
		// No disks.
		"cryptsetup.target", "integritysetup.target", "veritysetup.target", "systemd-repart.service",
		"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service",
		// Done when the image was built, or masked.
		"systemd-firstboot.service", "systemd-sysusers.service", "systemd-machine-id-commit.service",
		"systemd-journal-flush.service", "systemd-random-seed.service", "systemd-update-utmp.service",
		"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
		// Nobody is there to be asked.
		"systemd-ask-password-console.path",
		"dev-hugepages.mount", "dev-mqueue.mount",
	},
	"multi-user.target": {
		"systemd-ask-password-wall.path", "systemd-update-utmp-runlevel.service",
		"dbus.service", // its socket starts it
		"getty.target", "systemd-logind.service", "systemd-user-sessions.service",
	},
	"sockets.target": {"systemd-initctl.socket", "systemd-journald-audit.socket"},
}

// coldplug are the units by which udev looks at all devices. They go together.
var coldplug = map[string][]string{
	"sysinit.target": {"systemd-udev-trigger.service", "systemd-udevd.service", "kmod-static-nodes.service",
		"systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-setup-dev-early.service", "systemd-udev-load-credentials.service"},
	"sockets.target": {"systemd-udevd-control.socket", "systemd-udevd-kernel.socket"},
}

// afterwards are the units that late.target starts once the service runs.
var afterwards = []string{"systemd-logind.service", "systemd-user-sessions.service", "getty.target", "getty@.service", "serial-getty@.service"}

const lateTarget = `[Unit]
Description=What can wait until the services of the node run
Requires=graphical.target
After=graphical.target multi-user.target
Wants=late.service systemd-logind.service systemd-user-sessions.service getty.target
AllowIsolate=yes
`

// lateService does what the units of coldplug do. It asks for them by systemctl, not by dependencies: theirs say
// that the whole system waits for them.
const lateService = `[Unit]
Description=Look at all devices, mount what few services need
DefaultDependencies=no
After=multi-user.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-systemctl start systemd-udevd.service dev-hugepages.mount dev-mqueue.mount
ExecStart=-kmod static-nodes --format=tmpfiles --output=/run/tmpfiles.d/static-nodes.conf
ExecStart=-systemd-tmpfiles --prefix=/dev --create --boot
ExecStart=-udevadm trigger --type=all --action=add
`

// afterMultiUser is a drop-in for the units of afterwards.
const afterMultiUser = "[Unit]\nAfter=multi-user.target\n"

// generators are those of systemd that have something to do only where a file of the root says so; "" stands for
// never. Each is a process that systemd waits for before it starts anything.
var generators = map[string]string{
	"systemd-cryptsetup-generator": "etc/crypttab", "systemd-veritysetup-generator": "etc/veritytab",
	"systemd-integritysetup-generator": "etc/integritytab", "systemd-rc-local-generator": "etc/rc.local",
	"systemd-gpt-auto-generator": "", "systemd-hibernate-resume-generator": "", "systemd-system-update-generator": "",
	"systemd-bless-boot-generator": "", "systemd-tpm2-generator": "",
}

// putOff arranges the units of the root. services are the recipe's.
func putOff(root *os.Root, services []string) error {
	if _, err := root.Stat(unitDir + "/multi-user.target"); errors.Is(err, fs.ErrNotExist) {
		return nil // not systemd
	}
	named := func(unit string) bool {
		return slices.Contains(services, unit) || slices.Contains(services, strings.TrimSuffix(unit, ".service"))
	}
	wanted := []map[string][]string{unwanted, coldplug}
	early := false
	for _, units := range coldplug {
		early = early || slices.ContainsFunc(units, named)
	}
	late := lateService
	if early {
		wanted = wanted[:1]
		late = strings.Join(slices.DeleteFunc(strings.SplitAfter(late, "\n"), func(line string) bool {
			return strings.HasPrefix(line, "ExecStart=-kmod") || strings.HasPrefix(line, "ExecStart=-systemd-tmpfiles") ||
				strings.HasPrefix(line, "ExecStart=-udevadm")
		}), "")
	}
	var errs []error
	for _, targets := range wanted {
		for target, units := range targets {
			for _, unit := range units {
				if !named(unit) {
					errs = append(errs, gone(root, path.Join(unitDir, target+".wants", unit)))
				}
			}
		}
	}
	put := func(name, text string) {
		errs = append(errs, replace(root, name, func() error { return root.WriteFile(name, []byte(text), 0o644) }))
	}
	put(unitDir+"/late.target", lateTarget)
	put(unitDir+"/late.service", late)
	for _, unit := range afterwards {
		if !named(unit) {
			put(path.Join(unitDir, unit+".d/10-late.conf"), afterMultiUser)
		}
	}
	errs = append(errs, quietGenerators(root), noModules(root))
	// An overlay may have set another one.
	const target = "etc/systemd/system/default.target"
	if _, err := root.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, replace(root, target, func() error { return root.Symlink("/"+unitDir+"/late.target", target) }))
	}
	return errors.Join(errs...)
}

// gone removes a file, if it is there.
func gone(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// quietGenerators masks the generators that would find nothing (systemd.generator(7)).
func quietGenerators(root *os.Root) error {
	var errs []error
	mask := func(generator string) {
		name := "etc/systemd/system-generators/" + generator
		errs = append(errs, replace(root, name, func() error { return root.Symlink("/dev/null", name) }))
	}
	for generator, file := range generators {
		if file == "" || !hasLines(root, file) {
			mask(generator)
		}
	}
	if scripts, err := onlyUnits(root); err != nil {
		errs = append(errs, err)
	} else if scripts {
		mask("systemd-sysv-generator")
	}
	return errors.Join(errs...)
}

// onlyUnits reports whether every script of /etc/init.d has a unit that systemd takes instead.
func onlyUnits(root *os.Root) (bool, error) {
	scripts, err := fs.ReadDir(root.FS(), "etc/init.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("images: %w", err)
	}
	for _, s := range scripts {
		unit := strings.TrimSuffix(s.Name(), ".sh") + ".service"
		_, packaged := root.Lstat(path.Join(unitDir, unit))
		_, own := root.Lstat(path.Join("etc/systemd/system", unit))
		if packaged != nil && own != nil {
			return false, nil
		}
	}
	return true, nil
}

// noModules keeps systemd-modules-load from starting for the file of comments that Debian has.
func noModules(root *os.Root) error {
	if hasLines(root, "etc/modules") {
		return nil
	}
	return gone(root, "etc/modules-load.d/modules.conf")
}

// hasLines reports whether a file has a line that is no comment.
func hasLines(root *os.Root, name string) bool {
	b, err := root.ReadFile(name)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return true
		}
	}
	return false
}
