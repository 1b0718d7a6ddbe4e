package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where the parts of the root are put together, in the initramfs.
const (
	lowerDir = "/ro"
	upperDir = "/rw"
	sysroot  = "/sysroot"
)

// mounted is what has to be undone when a later step fails, last first.
type mounted []string

func (m mounted) undo(sys System) {
	for i := len(m) - 1; i >= 0; i-- {
		sys.Unmount(m[i])
	}
}

// rootModules are what each type of root needs beside overlay.
var rootModules = map[string][]string{"nfs": {"nfs", "nfsv3"}, "squashfs": {"loop", "squashfs"}}

// likelyModules are those that a boot with these parameters will most likely need.
func likelyModules(p Params) []string { return append(slices.Clone(rootModules[p.Root]), "overlay") }

// neededModules are those that s needs.
func neededModules(s *Spec) (names []string) {
	if s.RAM != nil {
		names = slices.Clone(rootModules["squashfs"])
	}
	names = append(names, "overlay")
	for _, m := range append([]Mount{s.Root}, s.Mounts...) {
		if m.Type == "nfs" {
			names = append(names, "nfs", "nfsv"+m.version()[:1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// version of NFS that m is mounted with.
func (m Mount) version() string { return cmp.Or(m.Version, "3") }

// preload inserts modules in the background; loadFor asks what became of each. It is for when the machine has to
// wait anyway: for its link, for an address probe, for an operator. Beside work of its own it would be of no
// use: with two processors busy in the kernel, a virtual machine on a busy host waits for one to hear of each
// page that the other protects, and takes longer than for one module after the other (measured: 4 s until the
// NIC is there instead of 1).
func (a *Agent) preload(names []string) {
	if a.preloading.Swap(true) {
		return
	}
	go func() { // ends with the last of them
		defer a.preloading.Store(false)
		<-a.drivers
		for _, name := range names {
			a.mods.load(a.System, name)
		}
	}()
}

// loadFor inserts the modules that s needs, or waits until they are there.
func (a *Agent) loadFor(s *Spec) {
	for _, name := range neededModules(s) {
		if err := a.mods.load(a.System, name); err != nil {
			a.Console.Fail("%v", err)
		}
	}
}

// mountRoot puts the root together: the image read-only, RAM over it.
func (a *Agent) mountRoot(ctx context.Context, s *Spec) (mounted, error) {
	a.loadFor(s)
	done, from, err := a.mountImage(ctx, s)
	if err != nil {
		return done, err
	}
	steps := []struct{ source, target, fstype, data string }{
		// Half of the memory: what a node writes outside of its volumes; the rest is for its work.
		{"muster", upperDir, "tmpfs", "mode=0755,size=50%"},
		{"muster", sysroot, "overlay", "lowerdir=" + a.path(lowerDir) + ",upperdir=" + a.path(upperDir+"/upper") +
			",workdir=" + a.path(upperDir+"/work")},
	}
	for _, s := range steps {
		if err := os.MkdirAll(a.path(s.target), 0o755); err != nil {
			return done, err
		}
		if err := a.System.Mount(s.source, a.path(s.target), s.fstype, 0, s.data); err != nil {
			return done, fmt.Errorf("mount %s on %s: %w", s.fstype, s.target, err)
		}
		done = append(done, a.path(s.target))
		if s.fstype == "tmpfs" {
			for _, dir := range []string{"/upper", "/work"} {
				if err := os.MkdirAll(a.path(upperDir+dir), 0o755); err != nil {
					return done, err
				}
			}
		}
	}
	if err := a.openToAll(s); err != nil {
		return done, err
	}
	if done, err = a.mountRun(done); err == nil {
		a.note("root", "%s %s", s.Image, from)
	}
	return done, err
}

// nobody is a user whom no file of an image belongs to.
const nobody = 65534

// openToAll says when nobody but root may open a file of the root. The overlay asks for a file's ACL where a user
// does not own it; an NFS client that mounted with noacl, or whose server has no ACLs, answers "operation not
// supported", and what is not root's then fails in a hundred places. Every other error is a later step's.
func (a *Agent) openToAll(s *Spec) error {
	if s.RAM != nil {
		return nil
	}
	err := a.System.As(nobody, func() error {
		f, err := inRoot{a.path(sysroot)}.openAs(s.init(), unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("%s from %s:%s: only root may open its files, as the NFS server gives no ACLs: switch them on there "+
		"(NFSACL, RPC program 100227), take noacl out of the mount options, or choose the root mode ram: %w", s.Image, s.Root.Server, s.Root.Path, err)
}

// mountRun gives the root its /run, as systemd would: files of the spec may lie there.
func (a *Agent) mountRun(done mounted) (mounted, error) {
	dir, err := inRoot{a.path(sysroot)}.mkdirAll("/run")
	if err == nil {
		defer dir.Close()
		err = a.System.Mount("tmpfs", handle(dir), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_STRICTATIME, "mode=0755,size=20%,nr_inodes=800k")
	}
	if err != nil {
		return done, fmt.Errorf("mount tmpfs on /run: %w", err)
	}
	return append(done, a.path(sysroot+"/run")), nil
}

// mountImage mounts the image on lowerDir, and says where it came from.
func (a *Agent) mountImage(ctx context.Context, s *Spec) (done mounted, from string, err error) {
	dir := a.path(lowerDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	if s.RAM != nil {
		return a.mountRAM(ctx, s, dir)
	}
	a.emptyRAM()
	root := s.Root
	root.ReadOnly = true
	if err := a.mountNFS(ctx, root, dir); err != nil {
		return nil, "", err
	}
	return mounted{dir}, fmt.Sprintf("from %s:%s", root.Server, root.Path), nil
}

// mountIn mounts m inside of the root.
func (a *Agent) mountIn(ctx context.Context, m Mount) error {
	dir, err := inRoot{a.path(sysroot)}.mkdirAll(m.Target)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	defer dir.Close()
	return a.mountNFS(ctx, m, handle(dir))
}

// mountNFS mounts m on dir. mount(2) may hang for minutes while a server restarts: the console says so.
func (a *Agent) mountNFS(ctx context.Context, m Mount, dir string) error {
	source, data, flags := nfsArgs(m, a.address.Addr())
	step := "mount"
	if m.Target == "" {
		step = "root"
	}
	stop := a.remind(ctx, step, fmt.Sprintf("still mounting %s: does the NFS server %s answer?", source, m.Server))
	defer stop()
	if err := a.System.Mount(source, dir, "nfs", flags, data); err != nil {
		ports := fmt.Sprintf("port %d", nfsPort(m))
		if m.version() == "3" {
			ports += fmt.Sprintf(", mountd %d", mountPort(m))
		}
		return fmt.Errorf("mount %s (NFSv%s, %s): %w", source, m.version(), ports, err)
	}
	return nil
}

// nfsArgs gives the arguments of mount(2). The kernel itself asks mountd, given its address and port: no
// portmapper and no mount.nfs are needed. nolock: locks stay in the node, as no statd runs this early; a
// state directory has one user only. hard, the kernel's default, makes a write wait for a server that
// restarts rather than fail. self is this machine's address, by which a version 4 server calls back.
func nfsArgs(m Mount, self netip.Addr) (source, data string, flags uintptr) {
	opts := []string{"vers=" + m.version(), "proto=tcp", "sec=sys", "hard", "addr=" + m.Server.String(), fmt.Sprintf("port=%d", nfsPort(m))}
	if m.version() == "3" {
		opts = append(opts, "nolock", "mountaddr="+m.Server.String(), fmt.Sprintf("mountport=%d", mountPort(m)), "mountvers=3", "mountproto=tcp")
	} else {
		opts = append(opts, "clientaddr="+self.String())
	}
	if m.ReadOnly {
		flags |= unix.MS_RDONLY
		opts = append(opts, "ro")
	}
	if m.Options != "" {
		opts = append(opts, m.Options)
	}
	return m.Server.String() + ":" + m.Path, strings.Join(opts, ","), flags
}

func nfsPort(m Mount) int {
	if m.Port == 0 {
		return 2049
	}
	return m.Port
}

func mountPort(m Mount) int {
	if m.MountPort == 0 {
		return nfsPort(m)
	}
	return m.MountPort
}

// checkMount says what is wrong with m; target says whether it needs one.
func checkMount(m Mount, target bool) error {
	switch {
	case m.Type != "nfs":
		return fmt.Errorf("mount type %q: this agent mounts nfs only", m.Type)
	case !m.Server.Is4():
		return fmt.Errorf("mount server %q is not an IPv4 address", m.Server)
	case m.Path != path.Clean(m.Path) || !path.IsAbs(m.Path):
		return fmt.Errorf("mount path %q is not absolute and clean", m.Path)
	case m.Version != "" && m.Version != "3" && m.Version != "4.1" && m.Version != "4.2":
		return fmt.Errorf("NFS version %q: not 3, 4.1 or 4.2", m.Version)
	case m.Port < 0 || m.Port > 65535 || m.MountPort < 0 || m.MountPort > 65535:
		return fmt.Errorf("mount ports %d and %d: not 0–65535", m.Port, m.MountPort)
	case target && !cleanPath(m.Target):
		return fmt.Errorf("mount target %q is not absolute and clean", m.Target)
	}
	return nil
}

// remindAfter is when a step that does not end is worth a word.
const remindAfter = 20 * time.Second

// remind reports text as the step's error once, and shows it again and again, until the returned function
// is called, which waits for the end of the goroutine behind it.
func (a *Agent) remind(ctx context.Context, step, text string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := true; sleep(ctx, remindAfter) == nil; first = false {
			a.Console.Remind("%s", text)
			if first {
				a.events.add(step, "", errors.New(text))
			}
		}
	}()
	return func() { cancel(); <-done }
}
