package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree.go turns a fresh Debian root into one for diskless nodes that share it read-only.

// masked are units that only slow down or disturb a diskless node. A recipe that names one in its services
// gets it all the same.
var masked = []string{
	// Housekeeping of a disk and of a package database that nobody changes.
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "man-db.timer", "fstrim.timer",
	"e2scrub_all.timer", "e2scrub_reap.service",
	// The agent set the boot NIC up, and the root hangs on it: nobody may touch it.
	"networking.service", "systemd-networkd.service", "systemd-networkd.socket",
	"systemd-networkd-wait-online.service", "NetworkManager.service", "NetworkManager-wait-online.service",
	"dhcpcd.service",
	// The server sets the clock at every boot; keeping it is a role's choice.
	"systemd-timesyncd.service", "chrony.service", "ntpsec.service", "openntpd.service",
	// State that lives in RAM here.
	"systemd-pstore.service", "systemd-machine-id-commit.service", "systemd-random-seed.service",
	"systemd-journal-flush.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
	// The agent mounted the root as it must be.
	"systemd-remount-fs.service",
	// File systems and modules that few services need; the kernel loads loop and dm when they are used.
	"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
	"sys-fs-fuse-connections.mount", "modprobe@configfs.service", "modprobe@fuse.service",
	"modprobe@dm_mod.service", "modprobe@loop.service", "modprobe@drm.service",
}

// personal is what must never be shared by machines, or belongs to the build.
var personal = []string{
	"etc/hostname", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
	"etc/ssh/ssh_host_*", "etc/apt/apt.conf.d/99mmdebstrap", "var/cache/apt/*.bin", "var/log/apt", "var/log/dpkg.log",
	"var/log/bootstrap.log", "etc/network/interfaces",
	// Keys and names that packages' scripts make, with their certificates.
	"etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem", "etc/dovecot/private/*",
	"etc/unbound/unbound_*.key", "etc/unbound/unbound_*.pem", "etc/nsd/nsd_*.key", "etc/nsd/nsd_*.pem", "etc/bind/rndc.key",
	"etc/dropbear/dropbear_*_host_key", "etc/munge/munge.key", "etc/mysql/debian.cnf", "etc/iscsi/initiatorname.iscsi",
	"etc/nvme/hostid", "etc/nvme/hostnqn", "var/lib/rabbitmq/.erlang.cookie", "var/lib/samba/private/*",
	"initrd.img*", "vmlinuz*", "boot/initrd.img*", "boot/System.map*",
}

// traces are what the installation of packages, and hooks, leave behind: of no use, and different each time.
var traces = []string{
	"etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-", "etc/.pwd.lock",
	"var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/lib/dpkg/triggers/Lock", "var/cache/debconf/*-old", "var/cache/ldconfig/aux-cache",
	"var/cache/apt/archives/lock", "var/cache/apt/archives/partial", "var/lib/apt/lists/*", "root/.bash_history", "root/.wget-hsts",
}

// files are written into every image.
var files = map[string]string{
	"etc/machine-id":  "", // empty: systemd makes one for each boot
	"etc/fstab":       "# The agent mounts everything before systemd starts.\n",
	"etc/hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
	"etc/resolv.conf": "",
	// Logs in RAM, bounded: without a limit journald takes a tenth of the memory.
	"etc/systemd/journald.conf.d/10-diskless.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n",
	// What is written to volumes and state goes to the server after a second, not after Linux' thirty: a
	// machine whose power fails must not take the last half minute of its log with it.
	"etc/sysctl.d/10-diskless.conf": "vm.dirty_expire_centisecs = 100\nvm.dirty_writeback_centisecs = 50\n",
}

// links replace what is there.
var links = map[string]string{
	// udev must not rename the NIC under the root file system.
	"etc/systemd/network/99-default.link": "/dev/null",
}

// dress makes the root a diskless node's: overlays, what every image has, services.
func dress(ctx context.Context, tree string, ref Ref, recipe Recipe, sources feed, overlays []fs.FS, log io.Writer) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	if err := removeAll(tree, personal); err != nil {
		return err
	}
	for name, content := range files {
		if err := replace(root, name, func() error { return root.WriteFile(name, []byte(content), 0o644) }); err != nil {
			return err
		}
	}
	for name, target := range links {
		if err := replace(root, name, func() error { return root.Symlink(target, name) }); err != nil {
			return err
		}
	}
	if err := errors.Join(lockRoot(root), nameImage(root, ref), sources.leave(root)); err != nil {
		return err
	}
	for _, o := range overlays {
		if err := copyOverlay(root, o); err != nil {
			return err
		}
	}
	if err := enable(ctx, tree, recipe.Services, log); err != nil {
		return err
	}
	if err := mask(root, recipe.Services); err != nil {
		return err
	}
	if err := putOff(root, recipe.Services); err != nil {
		return err
	}
	return upToDate(root)
}

// settle removes the traces of the build, and gives everything the image's time.
func (w *build) settle(ctx context.Context, tree string) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := errors.Join(removeAll(tree, traces), widowed(tree, "etc/ssl/certs"), emptyLogs(ctx, tree), date(root, w.epoch), steadyTables(tree, w.epoch)); err != nil {
		return err
	}
	keys, err := privateKeys(ctx, tree)
	if err != nil {
		return err
	}
	for _, name := range keys {
		fmt.Fprintf(w.log, keyInImage, name)
	}
	if len(keys) > 0 {
		w.progress.tell(fmt.Sprintf("%d files of the image look like private keys; the log names them", len(keys)))
	}
	return clamp(ctx, w.dir, w.epoch)
}

// upToDate tells systemd that /etc and /var are as new as /usr, so that no boot makes users and caches that
// the packages made already (systemd-update-done.service(8)).
func upToDate(root *os.Root) error {
	for _, name := range []string{"etc/.updated", "var/.updated"} {
		if err := replace(root, name, func() error { return root.WriteFile(name, nil, 0o644) }); err != nil {
			return err
		}
	}
	return nil
}

// removeAll deletes what matches the patterns.
func removeAll(tree string, patterns []string) error {
	for _, pattern := range patterns {
		found, err := matches(tree, pattern)
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return fmt.Errorf("images: %w", err)
			}
		}
	}
	return nil
}

// matches gives what matches a pattern in the tree, and lies in it: a link that a hook made of a directory
// (/var/cache/apt -> /srv/apt) leads to files of this machine, seen from here.
func matches(tree, pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(tree, pattern))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	top, err := filepath.EvalSymlinks(tree)
	return slices.DeleteFunc(found, func(name string) bool {
		dir, dirErr := filepath.EvalSymlinks(filepath.Dir(name))
		return err != nil || dirErr != nil || !below(top, dir)
	}), nil
}

// replace makes the parent and removes what is at name before it calls write: name may be a link out of
// the tree.
func replace(root *os.Root, name string, write func() error) error {
	err := root.MkdirAll(path.Dir(name), 0o755)
	if err == nil {
		err = root.Remove(name)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = write()
	}
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// lockRoot makes sure that root has no password.
func lockRoot(root *os.Root) error {
	b, err := root.ReadFile("etc/shadow")
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if f := strings.Split(line, ":"); f[0] == "root" && len(f) > 1 {
			f[1] = "*"
			lines[i] = strings.Join(f, ":")
		}
	}
	if err := root.WriteFile("etc/shadow", []byte(strings.Join(lines, "\n")), 0o640); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// nameImage states the image in os-release(5), where hostnamectl and the node's services find it. Its version is
// no part of it: the same image has another number when it is built again. A node knows it from its boot.
func nameImage(root *os.Root, ref Ref) error {
	f, err := root.OpenFile("usr/lib/os-release", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	_, err = fmt.Fprintf(f, "IMAGE_ID=%s\n", ref.Name)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// enable lets the image's own systemctl do it: it knows the image's units, aliases and SysV scripts. It
// starts nothing.
func enable(ctx context.Context, tree string, services []string, log io.Writer) error {
	if len(services) == 0 {
		return nil
	}
	var said strings.Builder
	cmd := exec.Command("chroot", append([]string{tree, "systemctl", "enable"}, services...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "SYSTEMD_OFFLINE=1"}
	cmd.Stdout, cmd.Stderr = log, io.MultiWriter(log, &said)
	if err := isolated(ctx, cmd); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("images: enable %s: %s: %w", strings.Join(services, ", "), lines[len(lines)-1], err)
	}
	return nil
}

// mask switches units off, present or not: a package that a technician adds must not start them either.
func mask(root *os.Root, services []string) error {
	for _, unit := range masked {
		if slices.Contains(services, unit) || slices.Contains(services, strings.TrimSuffix(unit, ".service")) {
			continue
		}
		name := "etc/systemd/system/" + unit
		if err := replace(root, name, func() error { return root.Symlink("/dev/null", name) }); err != nil {
			return err
		}
	}
	return nil
}
