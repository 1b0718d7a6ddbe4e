package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/httpboot"
	"muster/images"
	"muster/roles"
	"muster/tftpd"
)

// tftpFiles gives what a client may load by TFTP: the boot programs and the operator's own files, the images' kernels
// and initrds, and for boot programs other than iPXE what this machine is to do. What the operator has comes first.
func (s *server) tftpFiles() func(context.Context, tftpd.Peer) (fs.FS, error) {
	orders := &orderCache{director: director{server: s}}
	return func(ctx context.Context, peer tftpd.Peer) (fs.FS, error) {
		return layers{s.programs, imageFiles{s.catalog}, machineFiles{orders, ctx, peer}}, nil
	}
}

// imageFiles are the boot files of images, under images/NAME/VERSION as by HTTP.
type imageFiles struct{ *images.Catalog }

// Open implements fs.FS.
func (f imageFiles) Open(name string) (fs.File, error) {
	part := strings.Split(name, "/")
	if len(part) != 4 || part[0] != "images" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	version, err := strconv.Atoi(part[2])
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.Catalog.Open(images.Ref{Name: part[1], Version: version}, part[3])
}

// machineFiles are the files that boot programs other than iPXE look for under a machine's own name, rendered from the
// same decision as its iPXE script. They are there for the machine alone that has the address which asks.
type machineFiles struct {
	orders *orderCache
	ctx    context.Context
	peer   tftpd.Peer
}

var (
	macFile = regexp.MustCompile(`^(pxelinux\.cfg/|grub/grub\.cfg-)01-([0-9a-f]{2}(?:-[0-9a-f]{2}){5})$`)
	// piFile is the directory that a Raspberry Pi looks in: the last eight digits of its serial number.
	piFile = regexp.MustCompile(`^[0-9a-f]{8}/(.+)$`)
)

// Open implements fs.FS.
func (f machineFiles) Open(name string) (fs.File, error) {
	none := &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	mac, ok := f.orders.holderOf(f.peer.Remote.Addr())
	if !ok {
		return nil, none
	}
	if p := piFile.FindStringSubmatch(name); p != nil {
		return f.pi(mac, name, p[1])
	}
	p := macFile.FindStringSubmatch(name)
	if p == nil || p[2] != strings.ReplaceAll(mac.String(), ":", "-") {
		return nil, none
	}
	loader := httpboot.PXELinux
	if p[1] != "pxelinux.cfg/" {
		loader = httpboot.GRUB
	}
	return f.render(mac, loader, name)
}

// pi opens a file of a Raspberry Pi's directory. Its firmware (start4.elf and others) is the operator's, in rpi/.
func (f machineFiles) pi(mac roles.MAC, name, file string) (fs.File, error) {
	switch file {
	case "cmdline.txt":
		return f.render(mac, httpboot.RaspberryPi, name)
	case "config.txt":
		if own, err := f.orders.programs.Open("rpi/config.txt"); !errors.Is(err, fs.ErrNotExist) {
			return own, err
		}
		return newTextFile(name, fmt.Appendf(nil, "arm_64bit=1\nkernel=%s\ninitramfs %s followkernel\n", images.KernelFile, images.InitrdFile)), nil
	case images.KernelFile, images.InitrdFile:
		_, sc, err := f.orders.of(f.ctx, f.peer, mac)
		if err != nil {
			return nil, err
		}
		ref := sc.Kernel
		if file == images.InitrdFile {
			ref = sc.Initrd
		}
		return imageFiles{f.orders.catalog}.Open(strings.TrimPrefix(ref, "/"))
	}
	return f.orders.programs.Open("rpi/" + file)
}

func (f machineFiles) render(mac roles.MAC, l httpboot.Loader, name string) (fs.File, error) {
	m, sc, err := f.orders.of(f.ctx, f.peer, mac)
	if err != nil {
		return nil, err
	}
	b, err := l.Orders(m, sc, name)
	if err != nil {
		return nil, err
	}
	return newTextFile(name, b), nil
}

const (
	// orderTime is how long a decision holds: a loader asks for its file's size, and then for the file; a Raspberry
	// Pi for three files.
	orderTime = 5 * time.Second
	// maxOrders bounds the decisions that are kept.
	maxOrders = 4096
)

// orderCache has the decisions of a moment.
type orderCache struct {
	director
	mu   sync.Mutex
	kept map[roles.MAC]keptOrder // guarded by mu
}

type keptOrder struct {
	machine httpboot.Machine
	script  httpboot.Script
	until   time.Time
}

// of gives what the machine that asks is to do, as the director says.
func (c *orderCache) of(ctx context.Context, peer tftpd.Peer, mac roles.MAC) (httpboot.Machine, httpboot.Script, error) {
	c.mu.Lock()
	k, ok := c.kept[mac]
	c.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.machine, k.script, nil
	}
	remote := peer.Remote.Addr()
	m := httpboot.Machine{
		MAC: mac.String(), Remote: remote, Server: netip.AddrPortFrom(peer.Local, c.httpPort()), Base: c.url(peer.Local),
	}
	sc, err := c.Script(ctx, m)
	if err != nil {
		return m, sc, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxOrders {
		clear(c.kept)
	}
	if c.kept == nil {
		c.kept = map[roles.MAC]keptOrder{}
	}
	c.kept[mac] = keptOrder{m, sc, time.Now().Add(orderTime)}
	return m, sc, nil
}

// textFile is a file in memory.
type textFile struct {
	*bytes.Reader
	name string
	at   time.Time
}

func newTextFile(name string, b []byte) textFile {
	return textFile{bytes.NewReader(b), name, time.Now()}
}

// Close implements fs.File.
func (f textFile) Close() error { return nil }

// Stat implements fs.File.
func (f textFile) Stat() (fs.FileInfo, error) { return f, nil }

// Name implements fs.FileInfo, as do the others.
func (f textFile) Name() string { return path.Base(f.name) }

// Mode is a regular file's.
func (f textFile) Mode() fs.FileMode { return 0o444 }

// ModTime is when it was made.
func (f textFile) ModTime() time.Time { return f.at }

// IsDir is false.
func (f textFile) IsDir() bool { return false }

// Sys is nothing.
func (f textFile) Sys() any { return nil }
