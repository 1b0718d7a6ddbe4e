package library

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// node is a slot of the site's pool: namespaces with the root, the role's overlay, volumes, state and the
// slot's files.
type node struct {
	*site
	name    string
	address string
	root    string
	pid     int // of its init, which has the namespaces
	holder  *exec.Cmd
}

// start makes a node that occupies slot number n.
func (s *site) start(n int) *node {
	s.t.Helper()
	x := &node{site: s, name: fmt.Sprintf("%s-%02d", s.role.Name, n), address: fmt.Sprintf("10.77.0.%d", 20+n)}
	top, err := os.MkdirTemp(s.t.TempDir(), "node")
	if err != nil {
		s.t.Fatal(err)
	}
	x.root = filepath.Join(top, "root")
	mounts := fmt.Sprintf(`set -e
mount --make-rprivate /
cd %[1]s
mkdir up work root
mount -t overlay overlay -o lowerdir=%[2]s,upperdir=up,workdir=work root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
chmod 1777 root/tmp
hostname %[3]s
ip link set lo up
`, top, s.root, x.name)
	net := fmt.Sprintf("ip addr add %s/24 dev eth0\nip link set eth0 up\nip route add default via 10.77.0.1\n", x.address)
	for _, v := range s.role.Volumes {
		net += x.mount(filepath.Join("volumes", v.Name), v.Mount)
	}
	for _, dir := range s.role.State {
		net += x.mount(filepath.Join("state", x.name, strings.ReplaceAll(dir, "/", "-")), dir)
	}
	// The second half waits until the network is there; the last line until this node's end.
	x.holder = exec.Command("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "/bin/sh", "-c",
		mounts+"echo ready\nread line\n"+net+"echo ready\nexec sleep infinity\n")
	var stderr bytes.Buffer
	x.holder.Stderr = &stderr
	in, _ := x.holder.StdinPipe()
	out, _ := x.holder.StdoutPipe()
	if err := x.holder.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(x.kill)
	ready := func() {
		s.t.Helper()
		if b := make([]byte, 6); true {
			if n, _ := out.Read(b); string(b[:n]) != "ready\n" {
				_ = x.holder.Wait()
				s.t.Fatalf("%s: %s", x.name, &stderr)
			}
		}
	}
	ready()
	x.findInit()
	link := "v" + strconv.Itoa(x.pid)
	s.must(s.rack.Command(s.t.Context(), "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(x.pid)))
	s.must(s.rack.Command(s.t.Context(), "ip", "link", "set", link, "master", "br0", "up"))
	_, _ = in.Write([]byte("go\n"))
	ready()
	x.overlay()
	x.files()
	return x
}

// mount is the command that mounts a persistent directory, which is made like the image's.
func (x *node) mount(dir, target string) string {
	dir = filepath.Join(x.dir, dir)
	if _, err := os.Stat(dir); err != nil {
		x.must(exec.Command("mkdir", "-p", dir))
		if like := x.site.root + target; exec.Command("test", "-d", like).Run() == nil {
			x.must(exec.Command("chown", "--reference="+like, dir))
			x.must(exec.Command("chmod", "--reference="+like, dir))
		}
	}
	return fmt.Sprintf("mkdir -p root%[2]s\nmount --bind %[1]s root%[2]s\n", dir, target)
}

// findInit finds the process that unshare made.
func (x *node) findInit() {
	x.t.Helper()
	pid := x.holder.Process.Pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err == nil {
		x.pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// kill ends the node as a power cut does.
func (x *node) kill() {
	_ = x.holder.Process.Signal(syscall.SIGKILL)
	_ = x.holder.Wait()
}

// overlay copies the role's overlay over the root, as an image's build does.
func (x *node) overlay() {
	x.t.Helper()
	tree, err := Overlay(x.role.Name)
	if err != nil {
		x.t.Fatal(err)
	}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(b, []byte("#!")) {
			mode = 0o755
		}
		x.put("/"+name, b, mode)
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// put writes a file into the node, whose root only it can see.
func (x *node) put(name string, content []byte, mode fs.FileMode) {
	x.t.Helper()
	cmd := x.command(x.t.Context(), "/bin/sh", "-c", `mkdir -p "$(dirname "$1")" && rm -f "$1" && cat >"$1" && chmod "$2" "$1"`, "-", name, fmt.Sprintf("%o", mode))
	cmd.Stdin = bytes.NewReader(content)
	x.must(cmd)
}

// files writes the slot's files, as the agent does.
func (x *node) files() {
	x.t.Helper()
	got, err := x.registry.Files(x.t.Context(), x.name, x.role.Name+":7")
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range got.Files {
		x.put(f.Path, f.Content, fs.FileMode(f.Mode))
		if f.Owner != "" {
			x.run("chown", f.Owner, f.Path)
		}
	}
	x.put("/etc/hosts", fmt.Appendf(nil, "127.0.0.1 localhost\n%s %[2]s.rack.example %[2]s\n", x.address, x.name), 0o644)
	x.put("/etc/resolv.conf", []byte("nameserver 10.77.0.1\n"), 0o644) // where nothing answers
	x.put("/run/muster/env", fmt.Appendf(nil, "MUSTER_SLOT=%s\nMUSTER_IMAGE=%s:7\n", x.name, x.role.Name), 0o644)
}

// command is one that runs inside of the node.
func (x *node) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{"-t", strconv.Itoa(x.pid), "--net", "--mount", "--uts", "--ipc", "--pid", "chroot", x.root}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", all...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	return cmd
}

// try runs a program inside of the node.
func (x *node) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	out, err := x.command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %s: %w\n%s", x.name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (x *node) run(args ...string) string {
	x.t.Helper()
	out, err := x.try(args...)
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// daemon starts a program that stays, and logs what it says when the test has failed.
func (x *node) daemon(args ...string) {
	x.t.Helper()
	cmd := x.command(context.Background(), args...)
	log := filepath.Join(x.t.TempDir(), path.Base(args[0]))
	f, err := os.Create(log)
	if err != nil {
		x.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	f.Close()
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }() // ends with the node at the latest
	x.t.Cleanup(func() {
		x.kill()
		select {
		case <-done:
		case <-time.After(patience):
			x.t.Errorf("%s does not end", args[0])
		}
		if b, _ := os.ReadFile(log); x.t.Failed() {
			x.t.Logf("%s of %s:\n%s", args[0], x.name, b)
		}
	})
}

func (s *site) must(cmd *exec.Cmd) {
	s.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// verify lets systemd read the units of the role's overlay.
func (x *node) verify() {
	x.t.Helper()
	units, err := fs.Glob(FS, x.role.Name+"/overlay/etc/systemd/system/*")
	if err != nil {
		x.t.Fatal(err)
	}
	for _, u := range append(units, x.role.Recipe.Services...) {
		u = path.Base(strings.TrimSuffix(u, ".d"))
		u = strings.Replace(u, "@.", "@-.", 1)
		if out, err := x.try("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", u); err != nil || strings.TrimSpace(out) != "" {
			x.t.Errorf("%s: %v %s", u, err, out)
		}
	}
}
