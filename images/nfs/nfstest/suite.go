// Package nfstest is the conformance suite of nfs.Exports, run over every implementation against a real
// client: the Linux kernel's, in a virtual machine that boots Debian's kernel with an /init of ours.
//
// It needs root, QEMU, and a network and mount namespace with a /run of its own (see Main).
package nfstest

import (
	"bytes"
	"context"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/images/nfs"
	"muster/images/nfs/nfstest/wire"
)

// Server is one implementation under test.
type Server struct {
	nfs.Exports
	// Kill ends the server's process without warning; nil: there is none of ours.
	Kill func()
	// Versions of NFS to mount with; nil means 3 and 4.1.
	Versions []string
}

var (
	theClient = []netip.Prefix{netip.MustParsePrefix(clientAddress + "/32")}
	others    = []netip.Prefix{netip.MustParsePrefix("10.198.0.0/16")}
)

// Run tests one implementation. dir is an empty directory on a real file system; make makes the server.
func Run(t *testing.T, dir string, make func(t *testing.T) Server) {
	s := &suite{vm: boot(t), dir: dir}
	s.Server = make(t)
	s.tree(t)
	s.exports = []nfs.Export{
		{Path: s.path("images"), ReadOnly: true, NoRootSquash: true, Clients: theClient},
		{Path: s.path("state"), NoRootSquash: true, Clients: theClient},
		{Path: s.path("squashed"), Clients: theClient},
		{Path: s.path("foreign"), NoRootSquash: true, Clients: others},
	}
	s.serve(t)
	if s.Versions == nil {
		s.Versions = []string{"3", "4.1"}
	}
	for _, v := range s.Versions {
		s.version = v
		t.Run("v"+v+"/read-only", s.readOnly)
		t.Run("v"+v+"/overlaid", s.overlaid)
		t.Run("v"+v+"/read-write", s.readWrite)
		t.Run("v"+v+"/squash", s.squash)
		t.Run("v"+v+"/foreign", s.foreign)
		t.Run("v"+v+"/made later", s.madeLater)
		t.Run("v"+v+"/set", s.set)
		t.Run("v"+v+"/killed", s.killed)
	}
	t.Run("faults", s.faults)
}

type suite struct {
	Server
	*vm
	dir     string
	version string
	exports []nfs.Export
}

func (s *suite) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// tree makes what is exported: an image's root with what file servers get wrong, and a large file.
func (s *suite) tree(t *testing.T) {
	t.Helper()
	root := s.path("images/web/7/tree")
	for _, d := range []string{filepath.Join(root, "etc"), filepath.Join(root, "dev"), s.path("state/web-01"), s.path("squashed"), s.path("foreign"), s.path("later")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	big := make([]byte, 8<<20)
	rand.New(rand.NewSource(1)).Read(big)
	for name, f := range map[string]struct {
		mode os.FileMode
		b    []byte
	}{
		"etc/hostname":   {0o644, []byte("web\n")},
		"etc/os-release": {0o644, []byte("Debian\n")},
		"etc/shadow":     {0o600, []byte("root:*:1::::::\n")},
		"su":             {0o755 | os.ModeSetuid, []byte("\x7fELF")},
		"big":            {0o644, big},
	} {
		p := filepath.Join(root, name)
		if err := os.WriteFile(p, f.b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("etc/hostname", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "etc/hostname"), 33, 42); err != nil {
		t.Fatal(err)
	}
}

// serve runs the server until the test ends, which it must do with nil.
func (s *suite) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if err := s.Set(ctx, s.exports); err != nil {
		t.Fatal(err)
	}
	go func() { done <- s.Serve(ctx) }() // ends when ctx does
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	ready, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if err := s.Ready(ready); err != nil {
		t.Fatal(err)
	}
}

// mounted mounts a directory for the test's time and gives its path in the machine.
func (s *suite) mounted(t *testing.T, path string) string {
	t.Helper()
	m, err := s.Mount(path)
	if err != nil {
		t.Fatal(err)
	}
	target := "/mnt/" + filepath.Base(t.Name())
	if a := s.mount(m, s.version, target); a.Error != "" {
		t.Fatalf("mount %s: %s", m.Path, a.Error)
	}
	t.Cleanup(func() { s.must(wire.Request{Op: wire.Unmount, Path: target}) })
	return target
}

func (s *suite) stat(path string) wire.Answer {
	return s.must(wire.Request{Op: wire.Stat, Path: path})
}

// readOnly mounts a directory below an export, as every node does with its root.
func (s *suite) readOnly(t *testing.T) {
	m := s.mounted(t, s.path("images/web/7/tree"))
	if got := s.must(wire.Request{Op: wire.Read, Path: m + "/etc/hostname"}); string(got.Data) != "web\n" {
		t.Errorf("etc/hostname = %q", got.Data)
	}
	if got := s.must(wire.Request{Op: wire.Read, Path: m + "/etc/shadow"}); len(got.Data) == 0 {
		t.Error("root cannot read a file of mode 0600")
	}
	if st := s.stat(m + "/su"); st.Mode&0o7777 != 0o4755 {
		t.Errorf("setuid file has mode %o, want 4755", st.Mode&0o7777)
	}
	if st := s.stat(m + "/etc/hostname"); st.UID != 33 || st.GID != 42 {
		t.Errorf("owner %d:%d, want 33:42", st.UID, st.GID)
	}
	if st := s.stat(m + "/link"); string(st.Data) != "etc/hostname" {
		t.Errorf("link to %q", st.Data)
	}
	if st := s.stat(m + "/dev/null"); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("device has mode %o and number %x", st.Mode, st.Rdev)
	}
	if a := s.try(wire.Request{Op: wire.Write, Path: m + "/etc/hostname", Data: []byte("x")}); a.Error == "" {
		t.Error("a read-only export was written to")
	}
	if b, _ := os.ReadFile(s.path("images/web/7/tree/etc/hostname")); string(b) != "web\n" {
		t.Errorf("the server's file is now %q", b)
	}
}

// overlaid reads through an overlay, as every service does that runs as a user of its own: the overlay checks that
// user's rights itself, by the mode and the ACL that the server tells it.
func (s *suite) overlaid(t *testing.T) {
	lower := s.mounted(t, s.path("images/web/7/tree"))
	m := lower + ".overlay"
	s.must(wire.Request{Op: wire.Overlay, Source: lower, Path: m})
	t.Cleanup(func() {
		s.must(wire.Request{Op: wire.Unmount, Path: m})
		s.must(wire.Request{Op: wire.Unmount, Path: m + ".ram"})
	})
	if got := s.must(wire.Request{Op: wire.Read, Path: m + "/etc/os-release", UID: 42}); string(got.Data) != "Debian\n" {
		t.Errorf("etc/os-release = %q", got.Data)
	}
	if a := s.try(wire.Request{Op: wire.Read, Path: m + "/etc/shadow", UID: 42}); !strings.Contains(a.Error, "permission denied") {
		t.Errorf("another user reads a file of mode 0600: %q", a.Error)
	}
	s.must(wire.Request{Op: wire.Write, Path: m + "/etc/os-release", Data: []byte("x")})
	if got := s.must(wire.Request{Op: wire.Read, Path: m + "/etc/os-release", UID: 42}); string(got.Data) != "x" {
		t.Errorf("a changed etc/os-release = %q", got.Data)
	}
}

// readWrite writes as root, as services do in their state directory.
func (s *suite) readWrite(t *testing.T) {
	m := s.mounted(t, s.path("state/web-01"))
	s.must(wire.Request{Op: wire.Write, Path: m + "/access.log", Data: []byte(s.version)})
	s.must(wire.Request{Op: wire.Chown, Path: m + "/access.log"})
	if a := s.try(wire.Request{Op: wire.DropACL, Path: m}); a.Error != "" {
		t.Errorf("systemd could not take over the directory for a service: drop its ACL: %s", a.Error)
	}
	s.must(wire.Request{Op: wire.Chown, Path: m})
	b, err := os.ReadFile(s.path("state/web-01/access.log"))
	if err != nil || string(b) != s.version {
		t.Errorf("the server has %q, %v", b, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(s.path("state/web-01/access.log"), &st); err != nil || st.Uid != 33 {
		t.Errorf("owner on the server is %d, %v; want 33", st.Uid, err)
	}
}

// squash checks that a client's root is nobody where it was not said otherwise.
func (s *suite) squash(t *testing.T) {
	m := s.mounted(t, s.path("squashed"))
	if a := s.try(wire.Request{Op: wire.Write, Path: m + "/file", Data: []byte("x")}); a.Error == "" {
		t.Error("root wrote into a directory of root's though it is squashed")
	}
}

// foreign checks that only the listed clients may mount.
func (s *suite) foreign(t *testing.T) {
	m, err := s.Mount(s.path("foreign"))
	if err != nil {
		t.Fatal(err)
	}
	if a := s.mount(m, s.version, "/mnt/foreign"); a.Error == "" {
		t.Error("a client that is not listed mounted")
		s.must(wire.Request{Op: wire.Unmount, Path: "/mnt/foreign"})
	}
}

// madeLater checks that directories made behind the server's back are there at once: a published version,
// a new slot's state.
func (s *suite) madeLater(t *testing.T) {
	dir := s.path("state", "web-later-"+s.version)
	m, err := s.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.mount(m, s.version, "/mnt/later"); a.Error == "" {
		t.Fatal("a directory that does not exist was mounted")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	target := s.mounted(t, dir)
	if got := s.must(wire.Request{Op: wire.Read, Path: target + "/file"}); string(got.Data) != "new" {
		t.Errorf("file = %q", got.Data)
	}
}

// set adds an export and takes it away while another is in use.
func (s *suite) set(t *testing.T) {
	ctx := t.Context()
	held := s.mounted(t, s.path("images/web/7/tree"))
	if _, err := s.Mount(s.path("later")); err == nil {
		t.Fatal("Mount gave a path that is not exported")
	}
	more := append(slices.Clone(s.exports), nfs.Export{Path: s.path("later"), Clients: theClient, NoRootSquash: true})
	if err := s.Set(ctx, more); err != nil {
		t.Fatal(err)
	}
	m, err := s.Mount(s.path("later"))
	if err != nil {
		t.Fatal(err)
	}
	if a := s.mount(m, s.version, "/mnt/added"); a.Error != "" {
		t.Errorf("a new export cannot be mounted: %s", a.Error)
	} else {
		s.must(wire.Request{Op: wire.Unmount, Path: "/mnt/added"})
	}
	if err := s.Set(ctx, s.exports); err != nil {
		t.Fatal(err)
	}
	if a := s.mount(m, s.version, "/mnt/added"); a.Error == "" {
		t.Error("an export that was taken away can be mounted")
		s.must(wire.Request{Op: wire.Unmount, Path: "/mnt/added"})
	}
	if got := s.must(wire.Request{Op: wire.Read, Path: held + "/etc/hostname"}); string(got.Data) != "web\n" {
		t.Errorf("the other mount reads %q", got.Data)
	}
}

// killed reads an open file across a crash of the server: a node must only wait.
func (s *suite) killed(t *testing.T) {
	if s.Kill == nil {
		return // there is no process of ours
	}
	m := s.mounted(t, s.path("images/web/7/tree"))
	want, err := os.ReadFile(s.path("images/web/7/tree/big"))
	if err != nil {
		t.Fatal(err)
	}
	s.must(wire.Request{Op: wire.Hold, Path: m + "/big"})
	defer s.must(wire.Request{Op: wire.Release, Path: m + "/big"})
	const half = 4 << 20
	read := func(offset int64) {
		t.Helper()
		got := s.must(wire.Request{Op: wire.ReadHeld, Path: m + "/big", Offset: offset, Size: 1 << 20})
		if !bytes.Equal(got.Data, want[offset:offset+1<<20]) {
			t.Errorf("the megabyte at %d differs", offset)
		}
	}
	read(0)
	s.Kill()
	read(half)
	if st := s.stat(m + "/su"); st.Mode&0o7777 != 0o4755 {
		t.Errorf("after the crash the setuid file has mode %o", st.Mode&0o7777)
	}
}

// faults checks that bad lists are refused whole.
func (s *suite) faults(t *testing.T) {
	for _, bad := range []nfs.Export{
		{Path: "relative"}, {Path: "/"}, {Path: s.path("images") + "/"}, {Path: s.path("no such directory")},
		{Path: s.path("missing"), Clients: theClient}, {Path: s.path("images"), Clients: theClient},
		{Path: s.path("state") + "\"; }"}, {Path: s.path("later"), Clients: []netip.Prefix{{}}},
	} {
		if err := s.Set(t.Context(), append(slices.Clone(s.exports), bad)); err == nil {
			t.Errorf("Set took %+v", bad)
		}
	}
	if _, err := s.Mount(s.path("images")); err != nil {
		t.Errorf("after refused lists: %v", err)
	}
}
