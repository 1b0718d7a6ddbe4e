package serve

import (
	"cmp"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"muster/httpboot/agent/pair"
	"muster/images"
	"muster/roles"
)

// pairUser is a pool whose nodes mount from a storage pair.
type pairUser struct {
	pool  roles.Pool
	role  roles.Role
	slots []roles.Slot
	// images are those that its nodes run, boot or are to get; the one that the next node boots goes first, where
	// that one mounts from the pair so.
	images []images.Image
}

// pairUsers gives the pools that use a pair, by name, and then how it was used by those of which nodes still run from
// it as they booted.
func (s *server) pairUsers(pair string) (out []pairUser, err error) {
	now, used, err := s.usersNow(pair)
	if err != nil {
		return nil, err
	}
	former, err := s.former.note(pair, used, time.Now())
	if err != nil {
		return nil, err
	}
	var refs [][]images.Ref
	var gone []pairUse
	err = s.store.View(func(tx roles.Tx) error {
		out, refs, gone = nil, nil, nil
		runs := runsFrom(tx, pair)
		for p := range tx.Pools().All() {
			role, ok := now[p.Name]
			if !ok {
				continue
			}
			next, err := nextImage(p, role)
			if err != nil {
				return err
			}
			out = append(out, pairUser{pool: p, role: role, slots: slices.Collect(tx.SlotsOf(p.Name))})
			refs = append(refs, append([]images.Ref{next}, imagesOf(tx, p, runs)...))
		}
		for _, u := range former {
			p, _ := tx.Pools().Get(u.Pool)
			slots := slices.Collect(tx.SlotsOf(p.Name))
			if !slices.ContainsFunc(slots, func(s roles.Slot) bool { return bootedBefore(runs[s.Name], u.Left) }) {
				gone = append(gone, u)
				continue
			}
			out = append(out, pairUser{pool: p, role: u.role(), slots: slots})
			refs = append(refs, imagesOf(tx, p, runs))
		}
		return nil
	})
	if err == nil {
		err = s.former.forget(pair, gone)
	}
	for i := 0; i < len(out) && err == nil; i++ {
		out[i].images, err = s.findAll(refs[i])
	}
	return out, err
}

// nextImage is what the next node of a pool boots.
func nextImage(p roles.Pool, role roles.Role) (images.Ref, error) {
	if p.Image != "" {
		return images.ParseRef(p.Image)
	}
	return images.Ref{Name: role.ImageName()}, nil
}

// usersNow gives the roles of the pools that use a pair, and how they do.
func (s *server) usersNow(pair string) (now map[string]roles.Role, used []pairUse, err error) {
	var pools []roles.Pool
	err = s.store.View(func(tx roles.Tx) error {
		pools = nil
		for p := range tx.Pools().All() {
			if p.Storage == pair {
				pools = append(pools, p)
			}
		}
		return nil
	})
	now = map[string]roles.Role{}
	for i := 0; i < len(pools) && err == nil; i++ {
		p := pools[i]
		if now[p.Name], err = s.registry.EffectiveRole(p.Role); err == nil {
			used = append(used, useOf(p.Name, now[p.Name]))
		}
	}
	return now, used, err
}

// findAll gives those of refs that are published, each once.
func (s *server) findAll(refs []images.Ref) (out []images.Image, err error) {
	seen := map[images.Ref]bool{}
	for _, ref := range refs {
		img, ok, err := s.find(ref)
		if err != nil {
			return nil, err
		}
		if ok && !seen[img.Ref] {
			seen[img.Ref] = true
			out = append(out, img)
		}
	}
	return out, nil
}

// imagesOf are the versions that a pool's nodes run or boot, also those that are no longer in its slots, and those of its
// last rollout: it may go on, or be taken back.
func imagesOf(tx roles.Tx, p roles.Pool, runs map[string][]pairRun) (out []images.Ref) {
	add := func(name string) {
		if ref, err := images.ParseRef(name); err == nil && ref.Version != 0 {
			out = append(out, ref)
		}
	}
	if ro, ok := tx.Rollouts().Get(p.Name); ok {
		out = append(out, ro.Image, ro.From)
	}
	for s := range tx.SlotsOf(p.Name) {
		for _, r := range runs[s.Name] {
			add(r.image)
		}
		n, ok := tx.Nodes().Get(s.Node)
		if !ok {
			continue
		}
		add(n.Image)
		for b := range tx.BootsOf(n.MAC) {
			add(b.Image)
			break // the latest
		}
	}
	slices.SortFunc(out, func(a, b images.Ref) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Version-b.Version) })
	return slices.Compact(out)
}

// exportKey is an export to those who mount it in the same way.
type exportKey struct {
	path   string
	squash bool // of root
}

// contentsMaker puts contents together.
type contentsMaker struct {
	c       pair.Contents
	all     []netip.Prefix
	exports map[exportKey]*pair.Export
	// images and dirs are those that c has.
	images map[images.Ref]bool
	dirs   map[string]bool
}

// add gives a pool what it uses.
func (b *contentsMaker) add(u pairUser, packed func(images.Image) (pair.Image, bool)) {
	members := u.pool.Addresses.Prefixes()
	b.all = append(b.all, members...)
	if u.role.Root != roles.RootRAM {
		for _, img := range u.images {
			b.image(img, members, packed)
		}
	}
	if len(u.images) == 0 {
		return // whose a new directory is, is not known, and nobody boots
	}
	tree := filepath.Join(u.images[0].Dir, images.TreeDir)
	for _, v := range u.role.Volumes {
		path := images.VolumePath(v.Name)
		b.dir(images.DirLike(path, tree, v.Mount))
		b.export(exportKey{path, v.RootSquash}, members, v.ReadOnly)
	}
	if len(u.role.State) == 0 {
		return
	}
	models := make([]images.Dir, len(u.role.State))
	for i, target := range u.role.State {
		models[i] = images.DirLike("", tree, target)
	}
	for _, s := range u.slots {
		own := "state/" + s.Name
		b.dir(images.Dir{Path: own, Mode: 0o755})
		for i, target := range u.role.State {
			models[i].Path = images.StatePath(s.Name, target)
			b.dir(models[i])
		}
		b.export(exportKey{path: own}, []netip.Prefix{netip.PrefixFrom(s.Address, s.Address.BitLen())}, false)
	}
}

func (b *contentsMaker) image(img images.Image, clients []netip.Prefix, packed func(images.Image) (pair.Image, bool)) {
	if !b.images[img.Ref] {
		p, ok := packed(img)
		if !ok {
			return
		}
		b.images[img.Ref] = true
		b.c.Images = append(b.c.Images, p)
	}
	b.export(exportKey{path: pairImagePath(img.Ref)}, clients, true)
}

// dir adds a directory. A volume of several roles is as the first of them has it.
func (b *contentsMaker) dir(d images.Dir) {
	if !b.dirs[d.Path] {
		b.dirs[d.Path] = true
		b.c.Dirs = append(b.c.Dirs, pair.Dir(d))
	}
}

// export adds clients to an export. It is read-only when it is so for all of them. Nodes' roots are root there, unless the
// role says otherwise of a volume: a root file system, and the state of one, has files that only root may read, and
// services begin as root on what they own.
func (b *contentsMaker) export(key exportKey, clients []netip.Prefix, readOnly bool) {
	e := b.exports[key]
	if e == nil {
		e = &pair.Export{Path: key.path, ReadOnly: true, NoRootSquash: !key.squash}
		b.exports[key] = e
	}
	e.Clients = append(e.Clients, clients...)
	e.ReadOnly = e.ReadOnly && readOnly
}

// unsquash leaves a client that has a volume with and without its root squashed the latter: its role was changed, and it
// runs as it booted.
func (b *contentsMaker) unsquash() {
	for key, e := range b.exports {
		free := b.exports[exportKey{path: key.path}]
		if !key.squash || free == nil {
			continue
		}
		free.ReadOnly = free.ReadOnly && e.ReadOnly
		e.Clients = slices.DeleteFunc(e.Clients, func(p netip.Prefix) bool { return slices.Contains(free.Clients, p) })
		if len(e.Clients) == 0 {
			delete(b.exports, key)
		}
	}
}

// done gives the contents, in an order that depends on what they are alone.
func (b *contentsMaker) done() (pair.Contents, error) {
	slices.SortFunc(b.c.Images, func(x, y pair.Image) int { return cmp.Or(cmp.Compare(x.Name, y.Name), x.Version-y.Version) })
	slices.SortFunc(b.c.Dirs, func(x, y pair.Dir) int { return cmp.Compare(x.Path, y.Path) })
	if len(b.all) > 0 {
		b.c.Exports = []pair.Export{{Clients: prefixes(b.all), ReadOnly: true}}
	}
	b.unsquash()
	order := func(x, y exportKey) int { return cmp.Or(cmp.Compare(x.path, y.path), compareBool(x.squash, y.squash)) }
	for _, key := range slices.SortedFunc(maps.Keys(b.exports), order) {
		e := *b.exports[key]
		e.Clients = prefixes(e.Clients)
		b.c.Exports = append(b.c.Exports, e)
	}
	var err error
	b.c.Revision, err = revisionOf(b.c)
	return b.c, err
}

func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

// prefixes sorts networks, each once.
func prefixes(in []netip.Prefix) []netip.Prefix {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(out)
}
