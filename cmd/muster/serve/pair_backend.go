package serve

import (
	"context"
	"fmt"

	"muster/images"
	"muster/roles"
)

// halves is what is known of storage pairs.
type halves interface {
	Stored(p roles.Pool, image string) (why string)
	Pair(pool string) (roles.PairView, error)
}

// pairBackend offers what lies on a storage pair. It implements images.Backend for the nodes of one pool.
type pairBackend struct {
	pool     roles.Pool
	halves   halves
	contents *contents
	packs    *packer
}

// Offer implements images.Backend.
func (b pairBackend) Offer(_ context.Context, n images.Need) (string, error) {
	image := ""
	if n.Root != nil {
		if why := b.packs.waitPair(*n.Root); why != "" {
			return why, nil
		}
		image = n.Root.Ref.String()
	}
	if why := b.halves.Stored(b.pool, image); why != "" {
		return why, nil
	}
	v, err := b.halves.Pair(b.pool.Storage)
	if err != nil {
		return "", err
	}
	h, ok := activeHalf(v)
	if !ok {
		return fmt.Sprintf("waits for storage: neither half of %s is active", b.pool.Storage), nil
	}
	if !b.contents.offers(b.pool.Storage, h.Revision, n) {
		return fmt.Sprintf("waits for storage: %s makes room for %s", h.Slot, n.Slot), nil
	}
	return "", nil
}

// activeHalf gives the half that was active last: one that died said so, too.
func activeHalf(v roles.PairView) (active roles.HalfView, ok bool) {
	for _, h := range v.Halves {
		if h.Active && (!ok || h.Heard.After(active.Heard)) {
			active, ok = h, true
		}
	}
	return active, ok
}

// Options of what is mounted from a pair. When one half takes over from the other, a client must notice that its
// connection is dead: with nfs(5)'s usual timeo of a minute TCP alone says so, whose pauses double, so that an
// outage of 20 s would be one of 50 for the client. It is only the connection that is given up after timeo ×
// (retrans + 1): version 4 repeats nothing on one that lives, however long the disk takes.
const pairOptions = "timeo=30,retrans=2"

// Root implements images.Backend. With version 4.2 a client asks for users' extended attributes (RFC 8276); a squashfs
// without any refuses to list them, and the overlay on top of it then writes nothing ("Unknown error 524").
func (b pairBackend) Root(ref images.Ref) (images.Mount, error) {
	m, err := b.Directory(pairImagePath(ref))
	m.Version = "4.1"
	m.Options += "," + rootOptions
	return m, err
}

// Directory implements images.Backend.
func (b pairBackend) Directory(path string) (images.Mount, error) {
	v, err := b.halves.Pair(b.pool.Storage)
	return images.Mount{Server: v.Address, Path: "/" + path, Version: "4.2", Options: pairOptions}, err
}

// pairImagePath is where a pair has a version, below its export's root.
func pairImagePath(ref images.Ref) string { return fmt.Sprintf("images/%s/%d", ref.Name, ref.Version) }
