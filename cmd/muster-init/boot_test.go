package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"muster/httpboot"
	"muster/httpboot/agent"
	"muster/images/nfs"
)

// imageInit is the image's /sbin/init: it shows what the agent has made.
const imageInit = `#!/bin/busybox sh
export PATH=/bin
busybox --install -s /bin
echo "init: pid $$ args $* host $(hostname) etc $(cat /etc/hostname)"
echo "init: hosts $(grep web-03 /etc/hosts)"
echo "init: resolv $(grep nameserver /etc/resolv.conf)"
echo "init: motd $(cat /etc/motd) $(stat -c %a /etc/motd)"
echo "init: root $(grep ' / ' /proc/mounts | tail -n 1)"
echo "init: left in initramfs $(ls /init /lib/modules 2>/dev/null)"
echo "init: address $(ip -4 addr show eth0 | grep inet)"
echo "init: gateway $(ip route | grep default)"
mkdir /var/log/web && echo "init: overlay is writable"
echo kept > /srv/www/new && cat /srv/www/old
echo x > /opt/ro/no || echo "init: ro volume refuses"
echo "init: log $(dmesg | grep -c 'muster: ')"
sync
reboot -f
`

// A machine boots into a root on NFS: the export comes late, the server is busy at first, and everything
// that the spec says is there when the image's init starts.
func TestNodeTakesOver(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nfs-ganesha does")
	}
	for _, tool := range []string{"qemu-system-x86_64", "ganesha.nfsd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: run make setup", tool)
		}
	}
	tree, volume, readonly := imageTree(t, imageInit), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "old"), []byte("init: the volume has its files\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	kernel, initrd, release := bootFiles(t)
	host := netip.MustParseAddr("10.0.2.2")
	r := &rack{busy: 3, spec: agent.Spec{
		Hostname: "web-03", Domain: "rack.example", Address: netip.MustParsePrefix("10.0.2.33/24"), Gateway: host,
		DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Image: "web:7", Kernel: release,
		Root: agent.Mount{Type: "nfs", Server: host, Path: tree, MountPort: 20048},
		Mounts: []agent.Mount{
			{Type: "nfs", Server: host, Path: volume, MountPort: 20048, Target: "/srv/www"},
			{Type: "nfs", Server: host, Path: readonly, MountPort: 20048, Target: "/opt/ro", ReadOnly: true},
		},
		Files: []agent.File{{Path: "/etc/motd", Mode: 0o600, Content: []byte("welcome\n")}},
	}}
	srv := &httpboot.Server{Director: r, Images: noImages{}}
	ln, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return srv.Serve(ctx, ln) })

	dead := "http://10.0.2.2:1" // a boot server that is down
	m := switchOn(t, kernel, initrd, fmt.Sprintf("single muster.server=%s,http://10.0.2.2:%d muster.mac=52-54-00-AA-00-01 "+
		"muster.token=x muster.ip=10.0.2.15/24", dead, ln.Addr().(*net.TCPAddr).Port))
	deadline := time.After(3 * time.Minute)
	for !r.seen("root", true) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-m.off:
			t.Fatal("the machine went off before it tried to mount")
		case <-deadline:
			t.Fatal("no failed mount")
		}
	}
	ganesha := &nfs.Ganesha{Dir: t.TempDir()}
	clients := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	err = ganesha.Set(t.Context(), []nfs.Export{
		{Path: tree, ReadOnly: true, Clients: clients, NoRootSquash: true},
		{Path: volume, Clients: clients, NoRootSquash: true},
		{Path: readonly, Clients: clients, NoRootSquash: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, ganesha.Serve)
	select {
	case <-m.off:
	case <-deadline:
		t.Fatal("the machine did not come to its end")
	}

	for _, step := range []string{"hello", "network", "root", "mount", "files", "switch-root"} {
		if !r.seen(step, false) {
			t.Errorf("no event %s", step)
		}
	}
	m.shows(t,
		"init: pid 1 args single host web-03 etc web-03",
		"init: hosts 10.0.2.33 web-03.rack.example web-03",
		"init: resolv nameserver 10.0.2.3",
		"init: motd welcome 600",
		"init: root muster / overlay",
		"init: left in initramfs \r\n",
		"init: address     inet 10.0.2.33/24 brd 10.0.2.255 scope global eth0\r\n",
		"init: gateway default via 10.0.2.2 dev eth0 \r\n",
		"init: overlay is writable", "init: the volume has its files", "init: ro volume refuses",
		"muster: root: web:7 from 10.0.2.2:",
	)
	if b, err := os.ReadFile(filepath.Join(volume, "new")); string(b) != "kept\n" {
		t.Errorf("the volume has %q, %v", b, err)
	}
	r.log(t)
}
