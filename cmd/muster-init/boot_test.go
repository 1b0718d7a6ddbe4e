package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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
echo "init: key $(cat /etc/key) $(stat -c %a /etc/key)"
echo "init: log $(dmesg | grep -c 'muster: ')"
sync
reboot -f
`

// A machine boots into a root on NFS: the export comes late, the server is busy at first, the root is mounted in a
// way that leaves its files to root alone, and a secret is to lie on a volume. When all of that is mended,
// everything that the spec says is there when the image's init starts.
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
		Root: agent.Mount{Type: "nfs", Server: host, Path: tree, MountPort: 20048, Options: "noacl"},
		Mounts: []agent.Mount{
			{Type: "nfs", Server: host, Path: volume, MountPort: 20048, Target: "/srv/www"},
			{Type: "nfs", Server: host, Path: readonly, MountPort: 20048, Target: "/opt/ro", ReadOnly: true},
		},
		Files: []agent.File{{Path: "/etc/motd", Mode: 0o600, Content: []byte("welcome\n")}},
	}}
	r.secrets = []agent.File{{Path: "/srv/www/key", Mode: 0o600, Content: []byte("tsig")}}
	plain, secure, pin := secureServer(t, r)
	r.change(func() { r.spec.Secure = fmt.Sprintf("https://10.0.2.2:%d", secure) })

	dead := "http://10.0.2.2:1" // a boot server that is down
	m := switchOn(t, kernel, initrd, fmt.Sprintf("single muster.server=%s,http://10.0.2.2:%d muster.mac=52-54-00-AA-00-01 "+
		"muster.token=x muster.ip=10.0.2.15/24 muster.pin=%s", dead, plain, pin))
	deadline := time.After(4 * time.Minute)
	r.fails(t, m, deadline, "mount 10.0.2.2:"+tree)
	ganesha := &nfs.Ganesha{Dir: t.TempDir()}
	clients := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	err := ganesha.Set(t.Context(), []nfs.Export{
		{Path: tree, ReadOnly: true, Clients: clients, NoRootSquash: true},
		{Path: volume, Clients: clients, NoRootSquash: true},
		{Path: readonly, Clients: clients, NoRootSquash: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, ganesha.Serve)
	r.fails(t, m, deadline, "web:7 from 10.0.2.2:"+tree+": only root may open its files, as the NFS server gives no ACLs")
	r.change(func() { r.spec.Root.Options = "" })
	r.fails(t, m, deadline, "file /srv/www/key: it has a secret and would lie on a volume")
	r.change(func() { r.secrets[0].Path = "/etc/key" })
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
		"init: key tsig 600",
		"init: overlay is writable", "init: the volume has its files", "init: ro volume refuses",
		"muster: root: web:7 from 10.0.2.2:",
	)
	if _, err := os.Lstat(filepath.Join(volume, "key")); err == nil {
		t.Error("the secret is on the volume")
	}
	if b, err := os.ReadFile(filepath.Join(volume, "new")); string(b) != "kept\n" {
		t.Errorf("the volume has %q, %v", b, err)
	}
	r.log(t)
}
