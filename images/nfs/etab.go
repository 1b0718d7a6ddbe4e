package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Files of nfs-utils.
const (
	// exportsFile has our exports for others: exportfs -r, which operators and nfs-server.service run, takes
	// away all that no file names, and running nodes would lose their root. It is also what we find after a
	// crash.
	exportsFile = "/etc/exports.d/muster.exports"
	// etabFile has what is exported.
	etabFile = "/var/lib/nfs/etab"
)

// exportEntry is one directory for one network, as exports(5) writes it.
type exportEntry struct {
	path    string
	client  netip.Prefix
	options string
}

func (e exportEntry) same(o exportEntry) bool { return e.path == o.path && e.client == o.client }

// spec is how exportfs(8) names it: IPv6 in brackets.
func (e exportEntry) spec() string {
	client := e.client.String()
	if !e.client.Addr().Is4() {
		client = "[" + e.client.Addr().String() + "]/" + strconv.Itoa(e.client.Bits())
	}
	return client + ":" + e.path
}

// entries renders exports. crossmnt serves what is mounted below, a replicated volume perhaps. The fsid makes
// handles independent of device numbers and needs no UUID.
func entries(exports []Export) []exportEntry {
	id := fsids(exports)
	var all []exportEntry
	for _, e := range exports {
		options := []string{strings.ToLower(access(e)), "sync", squash(e), "no_subtree_check", "crossmnt", "fsid=" + strconv.Itoa(int(id[e.Path]))}
		for _, c := range e.Clients {
			all = append(all, exportEntry{e.Path, c, strings.Join(options, ",")})
		}
	}
	return all
}

// fsids gives each export a number as ids does, but above those that people choose: this server has other
// exports than ours, and of two with one number clients see one.
func fsids(exports []Export) map[string]uint32 {
	out, taken := map[string]uint32{}, map[uint32]bool{}
	for _, e := range slices.SortedFunc(slices.Values(exports), func(a, b Export) int { return strings.Compare(a.Path, b.Path) }) {
		id := hash32(e.Path)
		for id = id&0x7fffffff | 1<<30; taken[id]; id++ { // positive: the kernel reads an int
		}
		out[e.Path], taken[id] = id, true
	}
	return out
}

// exportTable is our part of what the machine exports.
type exportTable struct {
	run  func(ctx context.Context, argv ...string) error
	file string        // ours
	etab string        // all
	made []exportEntry // in effect; one without options is left from before, and its options are not known
}

// load finds what one of us left behind.
func (t *exportTable) load() {
	b, _ := os.ReadFile(t.file) // missing is the usual case
	t.made = nil
	for _, e := range parseExports(string(b)) {
		t.made = append(t.made, exportEntry{path: e.path, client: e.client})
	}
}

// parseExports reads exports(5) or etab: lines of a path and clients with options. It passes over clients
// that are not addresses.
func parseExports(file string) []exportEntry {
	var all []exportEntry
	for line := range strings.Lines(file) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		for _, word := range f[1:] {
			client, options, _ := strings.Cut(word, "(")
			if p, ok := parseClient(client); ok {
				all = append(all, exportEntry{f[0], p, strings.TrimSuffix(options, ")")})
			}
		}
	}
	return all
}

// parseClient reads an address, with or without a prefix length or a netmask.
func parseClient(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	address, mask, masked := strings.Cut(s, "/")
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if masked {
		m := net.ParseIP(mask).To4()
		if m == nil {
			return netip.Prefix{}, false
		}
		bits, _ = net.IPMask(m).Size()
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

// exported gives all that the machine exports.
func (t *exportTable) exported() []exportEntry {
	b, _ := os.ReadFile(t.etab) // missing: nothing was ever exported
	return parseExports(string(b))
}

// lost says whether somebody took exports of ours away.
func (t *exportTable) lost() bool {
	all := t.exported()
	return slices.ContainsFunc(t.made, func(e exportEntry) bool { _, there := find(all, e); return !there })
}

// find gives list's entry for the same directory and network.
func find(list []exportEntry, e exportEntry) (exportEntry, bool) {
	if i := slices.IndexFunc(list, e.same); i >= 0 {
		return list[i], true
	}
	return exportEntry{}, false
}

// apply makes wanted ours: new ones first, so that a changed one is never away. The error wraps fs.ErrExist
// when the machine exports the same to the same network by itself: then nothing changed.
func (t *exportTable) apply(ctx context.Context, wanted []exportEntry) error {
	all := t.exported()
	var errs []error
	for _, e := range wanted {
		if _, ours := find(t.made, e); ours {
			continue
		}
		if _, taken := find(all, e); taken {
			errs = append(errs, fmt.Errorf("nfs: %s is exported to %s already, and not by Muster: take it out of /etc/exports and run exportfs -r: %w", e.path, e.client, fs.ErrExist))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// What goes is in the file until it is gone.
	if err := t.write(union(wanted, t.made)); err != nil {
		return err
	}
	err := t.add(ctx, all, wanted)
	if err == nil {
		err = t.remove(ctx, all, wanted)
	}
	if err != nil {
		return errors.Join(err, t.write(t.made))
	}
	return t.write(wanted)
}

// add exports what is new, changed, or was taken away behind our back: a command for each directory.
func (t *exportTable) add(ctx context.Context, all, wanted []exportEntry) error {
	var todo []exportEntry
	for _, e := range wanted {
		made, is := find(t.made, e)
		if _, there := find(all, e); !is || !there || made.options != e.options {
			todo = append(todo, e)
		}
	}
	for len(todo) > 0 {
		first := todo[0]
		argv := []string{"exportfs", "-o", first.options}
		n := 0
		for n < len(todo) && todo[n].path == first.path && todo[n].options == first.options {
			argv = append(argv, todo[n].spec())
			n++
		}
		if err := t.run(ctx, argv...); err != nil {
			return errors.Join(err, t.undo(ctx, todo[:n]))
		}
		t.made = union(todo[:n], t.made)
		todo = todo[n:]
	}
	return nil
}

// undo takes away what failed: exportfs complains about a file system that the kernel cannot export, and
// exports it all the same. What was exported before with other options stays, with options that we do not know.
func (t *exportTable) undo(ctx context.Context, failed []exportEntry) error {
	ctx = context.WithoutCancel(ctx) // it may be why it failed
	all := t.exported()
	argv := []string{"exportfs", "-u"}
	for _, e := range failed {
		if i := slices.IndexFunc(t.made, e.same); i >= 0 {
			t.made[i].options = ""
		} else if _, there := find(all, e); there {
			argv = append(argv, e.spec())
		}
	}
	if len(argv) == 2 {
		return nil
	}
	return t.run(ctx, argv...)
}

// remove takes away what is not wanted, in one command.
func (t *exportTable) remove(ctx context.Context, all, wanted []exportEntry) error {
	argv := []string{"exportfs", "-u"}
	for _, e := range t.made {
		_, keep := find(wanted, e)
		if _, there := find(all, e); there && !keep { // what is not there exportfs complains about
			argv = append(argv, e.spec())
		}
	}
	if len(argv) > 2 {
		if err := t.run(ctx, argv...); err != nil {
			return err
		}
	}
	t.made = slices.DeleteFunc(t.made, func(e exportEntry) bool { _, keep := find(wanted, e); return !keep })
	return nil
}

// union is a, and what of b is not in a.
func union(a, b []exportEntry) []exportEntry {
	all := slices.Clone(a)
	for _, e := range b {
		if _, has := find(a, e); !has {
			all = append(all, e)
		}
	}
	return all
}

// write writes our file; without exports there is none.
func (t *exportTable) write(list []exportEntry) error {
	if len(list) == 0 {
		if err := os.Remove(t.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("nfs: %w", err)
		}
		return nil
	}
	var b strings.Builder
	b.WriteString("# Written by Muster at every change, removed when it stops; do not edit.\n")
	for _, e := range list {
		fmt.Fprintf(&b, "%s %s(%s)\n", e.path, e.client, e.options)
	}
	if err := os.MkdirAll(filepath.Dir(t.file), 0o755); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	// exportfs passes over names that do not end in .exports.
	tmp := t.file + ".new"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	if err := os.Rename(tmp, t.file); err != nil {
		return fmt.Errorf("nfs: %w", err)
	}
	return nil
}
