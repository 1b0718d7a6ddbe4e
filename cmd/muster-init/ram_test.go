package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/httpboot"
	"muster/httpboot/agent"
)

// ramInit shows what a boot into RAM has made, and runs the agent that it left.
const ramInit = `#!/bin/busybox sh
export PATH=/bin
busybox --install -s /bin
ip link set lo up
echo "init: root $(grep ' / ' /proc/mounts | tail -n 1)"
echo "init: loop $(cat /sys/block/loop0/loop/backing_file) $(cat /sys/block/loop0/ro)"
echo "init: run $(grep ' /run ' /proc/mounts)"
echo "init: secret $(cat /etc/secret) $(stat -c '%a %u:%g' /etc/secret)"
echo "init: env $(tr '\n' ' ' < /run/muster/env)"
echo "init: left $(stat -c '%n %a' /run/muster/session /run/muster/agent | tr '\n' ' ')"
echo "init: wanted $(cat /run/systemd/system/multi-user.target.wants/muster-agent.service | grep ExecStart)"
echo "init: memory $(grep -E 'MemTotal|MemAvailable|Shmem:' /proc/meminfo | tr '\n' ' ')"
touch /etc/hosts /etc/writable && echo "init: overlay is writable"
/run/muster/agent node
`

// ramSystemctl stands in for systemd's. It restarts the machine only when no boot server is there any more, and
// the root could still be read, to its last byte, from what is in RAM.
const ramSystemctl = `#!/bin/busybox sh
export PATH=/bin
exec > /dev/console 2>&1
echo "systemctl: $*"
[ "$1" = reboot ] || exit 0
echo "init: agent $(grep VmRSS /proc/$PPID/status) $(grep RssAnon /proc/$PPID/status)"
echo "init: new $(cat /etc/new)"
while wget -q -O /dev/null http://10.0.2.2:PORT/ipxe; do sleep 0.1; done
echo 3 > /proc/sys/vm/drop_caches
echo "init: without a server $(md5sum /usr/share/big)"
reboot -f
`

// seal gives the seal of a squashfs.
func seal(t *testing.T, key ed25519.PrivateKey, image string, content []byte) []byte {
	t.Helper()
	const chunk = 1 << 20
	s := agent.Seal{Ref: image, Digest: "sha256:0", Size: int64(len(content)), Chunk: chunk}
	for i := 0; i < len(content); i += chunk {
		sum := sha256.Sum256(content[i:min(i+chunk, len(content))])
		s.Sums = append(s.Sums, hex.EncodeToString(sum[:]))
	}
	line, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	sig := ed25519.Sign(key, append([]byte(agent.SealContext), line...))
	return append(line, "\n"+base64.StdEncoding.EncodeToString(sig)+"\n"...)
}

// oneImage is a directory with the files of web:7.
type oneImage string

func (d oneImage) Open(_ string, _ int, file string) (*os.File, error) {
	return os.Open(filepath.Join(string(d), file))
}

// A machine boots into a root in RAM: of two boot servers one sends a wrong byte; the first claim of its secrets
// fails, which costs no second load; the agent stays, gets a new file and a restart; and nothing of it needs a server
// once it is in RAM.
func TestRootInRAM(t *testing.T) {
	for _, tool := range []string{"qemu-system-x86_64", "mksquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: run make setup", tool)
		}
	}
	kernel, initrd, release := bootFiles(t)
	host := netip.MustParseAddr("10.0.2.2")
	image, key := t.TempDir(), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	ctx, dead := context.WithCancel(context.Background())
	defer dead()
	r := &rack{closed: 1, spec: agent.Spec{
		Hostname: "web-03", Address: netip.MustParsePrefix("10.0.2.15/24"), Gateway: host, Image: "web:7", Kernel: release,
		Root: agent.Mount{Type: "squashfs"}, Revision: "r1",
		RAM: &agent.RAMRoot{Squashfs: "/images/web/7/root.squashfs?boot=1", Seal: "/images/web/7/root.seal"},
	}}
	r.secrets = []agent.File{{Path: "/etc/secret", Mode: 0o640, Owner: "knot:adm", Content: []byte("tsig")}}
	r.present = func(_ context.Context, p agent.Present) (agent.NodeOrders, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case p.Key != r.claims[0].Key:
			t.Errorf("the node says %+v, it claimed with %s", p, r.claims[0].Key)
		case p.Revision == "r1":
			return agent.NodeOrders{Revision: "r2", Files: append(r.secrets,
				agent.File{Path: "/etc/new", Content: []byte("is here"), Reload: []string{"web.service"}})}, nil
		case p.Revision == "r2":
			time.AfterFunc(time.Second, dead) // the answer gets out
			return agent.NodeOrders{Restart: "it is time"}, nil
		}
		return agent.NodeOrders{}, nil
	}

	var loads atomic.Int32
	srv := &httpboot.Server{Director: r, Images: oneImage(image), Observe: func(_ context.Context, f httpboot.Fetch) {
		if f.Complete && strings.HasSuffix(f.File, ".squashfs") {
			loads.Add(1)
		}
	}}
	cert, err := httpboot.LoadCertificate(filepath.Join(t.TempDir(), "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pin, err := httpboot.Pin(cert)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := srv.ListenSecure("127.0.0.1:0", cert)
	if err != nil {
		t.Fatal(err)
	}
	port := func(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }
	r.spec.Secure = fmt.Sprintf("https://10.0.2.2:%d", port(secure))

	big := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(big)
	tree := imageTree(t, ramInit)
	for name, content := range map[string]string{
		"usr/share/big": string(big), "lib/systemd/systemd": "", "etc/passwd": "knot:x:101:102::/:/bin/false\n", "etc/group": "adm:x:4:\n",
		"bin/systemctl": strings.ReplaceAll(ramSystemctl, "PORT", fmt.Sprint(port(ln))),
	} {
		name = filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	squashfs := filepath.Join(image, "root.squashfs")
	if out, err := exec.Command("mksquashfs", tree, squashfs, "-comp", "zstd", "-all-root", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	content, err := os.ReadFile(squashfs)
	if err != nil {
		t.Fatal(err)
	}
	r.spec.RAM.Size = int64(len(content))
	if err := os.WriteFile(filepath.Join(image, "root.seal"), seal(t, key, "web:7", content), 0o644); err != nil {
		t.Fatal(err)
	}

	// The first boot server has one wrong byte, in the fourth chunk.
	bad := bytes.Clone(content)
	bad[3<<20+12345] ^= 1
	routes, err := srv.Handler()
	if err != nil {
		t.Fatal(err)
	}
	liar, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lying := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, ".squashfs") {
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(bad))
			return
		}
		routes.ServeHTTP(w, req)
	})}
	var wg sync.WaitGroup
	for _, l := range []net.Listener{ln, secure} {
		wg.Go(func() {
			if err := srv.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { lying.Serve(liar) })
	defer wg.Wait()
	defer dead()
	defer context.AfterFunc(ctx, func() { lying.Close() })()

	m := switchOn(t, kernel, initrd, fmt.Sprintf("muster.server=http://10.0.2.2:%d,http://10.0.2.2:%d muster.mac=52:54:00:aa:00:01 "+
		"muster.token=x muster.ip=10.0.2.15/24 muster.pin=%s muster.key=%s", port(liar), port(ln), pin,
		base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	select {
	case <-m.off:
	case <-time.After(3 * time.Minute):
		t.Fatal("the machine did not come to its end")
	}
	chunks := (len(content)-1)>>20 + 1
	m.shows(t,
		fmt.Sprintf("muster: web:7: http://10.0.2.2:%d: chunk 4 of %d, from byte 3145728 on, is not what was sealed; asked again", port(liar), chunks),
		"muster: root: web:7 in RAM, ", "init: root muster / overlay rw", "init: loop /ram/root.squashfs 1",
		"init: run tmpfs /run tmpfs rw,nosuid,nodev,size=", "init: secret tsig 640 101:4", "init: env MUSTER_SLOT=web-03 MUSTER_IMAGE=web:7 ",
		"init: left /run/muster/session 600 /run/muster/agent 700", "init: wanted ExecStart=/run/muster/agent node",
		"init: overlay is writable", "systemctl: try-reload-or-restart -- web.service", "systemctl: reboot", "init: new is here",
		fmt.Sprintf("init: without a server %x  /usr/share/big", md5.Sum(big)),
	)
	for line := range strings.Lines(m.console.String()) {
		if strings.HasPrefix(line, "init: agent") || strings.HasPrefix(line, "init: memory") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if n := loads.Load(); n != 1 || !r.seen("files", true) {
		t.Errorf("the image was loaded %d times, want once, and a failed claim", n)
	}
	if !r.seen("root", true) {
		t.Error("no event tells of the wrong byte")
	}
	r.log(t)
}
