package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"muster/tests/rack"
)

// packages are what is in both roots: those of the role web, and what makes a root a diskless machine's.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "linux-image-cloud-amd64", "nginx-light", "logrotate",
}

// reference is the stack that people build by hand.
type reference struct {
	dir  string // tree, http, configuration
	rack *rack.Rack
}

// build makes the reference's root, kernel and initrd, unless they are there.
func (r *reference) build(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(r.dir, "done")); err == nil {
		return nil
	}
	tree, web := filepath.Join(r.dir, "tree"), filepath.Join(r.dir, "http")
	if err := errors.Join(os.RemoveAll(tree), os.MkdirAll(web, 0o755)); err != nil {
		return err
	}
	// initramfs-tools is told to boot from NFS before it makes its first initrd; the rest is Debian as it comes.
	out, err := exec.CommandContext(ctx, "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase",
		"--include="+strings.Join(append([]string{"initramfs-tools"}, packages...), ","),
		`--aptopt=APT::Install-Recommends "false"`,
		`--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" && echo BOOT=nfs >"$1/etc/initramfs-tools/conf.d/nfs"`,
		`--customize-hook=printf '%s\n' >"$1/etc/fstab"; echo reference >"$1/etc/hostname"`,
		"--customize-hook="+probe("$1"),
		"bookworm", tree).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out)
	}
	for _, name := range []string{"vmlinuz", "initrd.img"} {
		found, _ := filepath.Glob(filepath.Join(tree, "boot", name+"-*"))
		if len(found) != 1 {
			return fmt.Errorf("the reference has %d files boot/%s-*", len(found), name)
		}
		b, err := os.ReadFile(found[0])
		if err == nil {
			err = os.WriteFile(filepath.Join(web, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	script := fmt.Sprintf("#!ipxe\nkernel http://10.77.0.1:8080/vmlinuz initrd=initrd.img root=/dev/nfs "+
		"nfsroot=10.77.0.1:%s,vers=3,tcp,nolock rw ip=dhcp console=tty0 console=ttyS0,115200\n"+
		"initrd --name initrd.img http://10.77.0.1:8080/initrd.img\nboot\n", tree)
	return errors.Join(os.WriteFile(filepath.Join(web, "boot.ipxe"), []byte(script), 0o644),
		os.WriteFile(filepath.Join(r.dir, "done"), nil, 0o644))
}

const ganeshaConf = `NFS_CORE_PARAM { Protocols = 3,4; mount_path_pseudo = true; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; }
NFSV4 { Graceless = true; }
EXPORT { Export_Id = 1; Path = %[1]s; Pseudo = %[1]s; Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL { Name = VFS; } }
`

// serve starts the reference's servers in a rack of their own. They end with the rack.
func (r *reference) serve(ctx context.Context) error {
	conf := filepath.Join(r.dir, "ganesha.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, ganeshaConf, filepath.Join(r.dir, "tree")), 0o644); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"rpcbind", "-f", "-w"},
		{"ganesha.nfsd", "-F", "-L", filepath.Join(r.dir, "ganesha.log"), "-f", conf, "-p", "/run/ganesha.pid"},
		{"python3", "-m", "http.server", "--bind", "10.77.0.1", "--directory", filepath.Join(r.dir, "http"), "8080"},
		{"dnsmasq", "--no-daemon", "--port=0", "--interface=br0", "--bind-interfaces", "--dhcp-range=10.77.0.20,10.77.0.20,1h",
			"--dhcp-leasefile=" + filepath.Join(r.dir, "leases"), "--dhcp-match=set:ipxe,175",
			"--dhcp-boot=tag:ipxe,http://10.77.0.1:8080/boot.ipxe", "--dhcp-boot=tag:!ipxe,undionly.kpxe",
			"--enable-tftp", "--tftp-root=/usr/lib/ipxe"},
	} {
		cmd := r.rack.Command(ctx, argv[0], argv[1:]...)
		log, err := os.Create(filepath.Join(r.dir, argv[0]+".out"))
		if err != nil {
			return err
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { _ = cmd.Wait(); log.Close() }() // ends with the rack
		if argv[0] == "rpcbind" {                   // where the NFS server registers itself
			if err := r.until(ctx, "", "rpcinfo", "-p", "10.77.0.1"); err != nil {
				return err
			}
		}
	}
	return r.until(ctx, r.dir, "showmount", "-e", "10.77.0.1")
}

// until runs a command in the rack until it succeeds and says what is wanted.
func (r *reference) until(ctx context.Context, wanted string, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		out, err := r.rack.Command(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err == nil && strings.Contains(string(out), wanted) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the reference's %s does not answer: %s", argv[0], out)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}
