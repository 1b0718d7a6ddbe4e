package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/httpboot/agent/pair"
	"muster/images"
)

// contents knows what each storage pair is to have, and what it was told before: a half says by revision what it
// has.
type contents struct {
	// revision is the rack's, users gives those who use a pair.
	revision func() uint64
	users    func(pool string) ([]pairUser, error)
	packs    *packer
	log      *slog.Logger

	mu    sync.Mutex
	pairs map[string]*pairContents // by pool; guarded by mu
}

// pairContents is what one pair is to have.
type pairContents struct {
	at       time.Time // when now was made
	revision uint64    // the rack's at that time
	now      pair.Contents
	said     time.Time // when somebody was told that they cannot be made
	// made are those that the pair was seen to have made so, last.
	made   pair.Contents
	told   []pair.Contents           // the latest ones, now included
	packed map[images.Ref]pair.Image // what was ever in them
}

const (
	// contentsAge is how long contents are good while the rack does not change: images are packed without it.
	// contentsPause spares the rack's readers while it changes with every event of every boot.
	contentsAge   = 5 * time.Second
	contentsPause = time.Second
	// contentsKept bounds what is remembered of what a pair was told: it makes so within seconds.
	contentsKept = 32
)

// of gives what a pair is to have. With an error, and when it is not known now, its Revision is empty: the pair
// leaves everything as it is.
func (c *contents) of(pool string) (pair.Contents, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[pool]
	if p == nil {
		if c.pairs == nil {
			c.pairs = map[string]*pairContents{}
		}
		p = &pairContents{packed: map[images.Ref]pair.Image{}}
		c.pairs[pool] = p
	}
	rev, age := c.revision(), time.Since(p.at)
	if p.now.Revision != "" && (age < contentsPause || age < contentsAge && rev == p.revision) {
		return p.now, nil
	}
	users, err := c.users(pool)
	if err != nil {
		return pair.Contents{}, err
	}
	now, err := makeContents(users, c.packed(p))
	if err != nil {
		return pair.Contents{}, err
	}
	p.at, p.revision = time.Now(), rev
	p.tell(now)
	return now, nil
}

// orNone is of for a half that has made contents of a revision so, or none of them. It goes on without: the orders
// that keep data safe do not wait for those that nodes wait for.
func (c *contents) orNone(pool, has string) pair.Contents {
	now, err := c.of(pool)
	if err != nil {
		c.complain(pool, err)
		return now
	}
	c.note(pool, has)
	return now
}

// complain logs an error, once a minute: two halves ask every 2 s.
func (c *contents) complain(pool string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[pool]
	if time.Since(p.said) < time.Minute {
		return
	}
	p.said = time.Now()
	c.log.Error("what a storage pair is to have is not known: it keeps what it has", "pool", pool, "err", err)
}

// note notes that a pair has made contents of a revision so.
func (c *contents) note(pool, revision string) {
	if t, ok := c.given(pool, revision); ok {
		c.mu.Lock()
		c.pairs[pool].made = t
		c.mu.Unlock()
	}
}

// tell keeps what the pair is told.
func (p *pairContents) tell(now pair.Contents) {
	p.now = now
	p.told = slices.DeleteFunc(p.told, func(t pair.Contents) bool { return t.Revision == now.Revision })
	p.told = append(p.told, now)
	if n := len(p.told) - contentsKept; n > 0 {
		p.told = slices.Delete(p.told, 0, n)
	}
}

// given gives what a pair was told by revision.
func (c *contents) given(pool, revision string) (pair.Contents, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pairs[pool]; p != nil && revision != "" {
		for _, t := range p.told {
			if t.Revision == revision {
				return t, true
			}
		}
	}
	return pair.Contents{}, false
}

// packed gives the image as the pair gets it. One that is not packed yet is left out, and is being packed from now
// on; one that was, stays as it was: nodes run from it.
func (c *contents) packed(p *pairContents) func(images.Image) (pair.Image, bool) {
	return func(img images.Image) (pair.Image, bool) {
		if why := c.packs.waitPair(img); why != "" {
			was, ok := p.packed[img.Ref]
			return was, ok
		}
		now := pair.Image{
			Name: img.Ref.Name, Version: img.Ref.Version, Size: img.Squashfs,
			Squashfs: filePath(img.Ref, images.SquashfsFile), Seal: filePath(img.Ref, images.SealFile),
		}
		p.packed[img.Ref] = now
		return now, true
	}
}

// makeContents is what a pair is to have for those who use it. packed gives an image as the pair gets it, or false
// when there is none yet.
func makeContents(users []pairUser, packed func(images.Image) (pair.Image, bool)) (pair.Contents, error) {
	b := contentsMaker{exports: map[exportKey]*pair.Export{}, images: map[images.Ref]bool{}, dirs: map[string]bool{}}
	for _, u := range users {
		b.add(u, packed)
	}
	return b.done()
}

// offers says whether a pair whose active half has made a revision so has what a node mounts. Without a revision it is
// at work: what it made before is still there, and so is what is in both; its images it names itself.
func (c *contents) offers(pool, revision string, n images.Need) bool {
	if t, ok := c.given(pool, revision); ok {
		return offersRoot(t, n) && offersDirs(t, n)
	}
	if revision != "" {
		return false // what that was is not known any more: it will have another one soon
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[pool]
	return p != nil && offersDirs(p.made, n) && offersDirs(p.now, n) && offersRoot(p.now, n)
}

// offersRoot says whether contents have the root that a node mounts, for that node.
func offersRoot(c pair.Contents, n images.Need) bool {
	return n.Root == nil || exportedTo(c, pairImagePath(n.Root.Ref), n.Address) // nothing that it has not is exported
}

// offersDirs says whether contents have the directories that a node mounts, for that node.
func offersDirs(c pair.Contents, n images.Need) bool {
	for _, d := range n.Dirs {
		if !exportedTo(c, d.Path, n.Address) || !slices.ContainsFunc(c.Dirs, func(has pair.Dir) bool { return has.Path == d.Path }) {
			return false
		}
	}
	return true
}

// exportedTo says whether contents let an address mount a path.
func exportedTo(c pair.Contents, path string, to netip.Addr) bool {
	return slices.ContainsFunc(c.Exports, func(e pair.Export) bool {
		return (e.Path == path || e.Path != "" && strings.HasPrefix(path, e.Path+"/")) &&
			slices.ContainsFunc(e.Clients, func(p netip.Prefix) bool { return p.Contains(to) })
	})
}

// revisionOf is a digest of what c holds.
func revisionOf(c pair.Contents) (string, error) {
	c.Revision = ""
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12]), nil
}

// find gives a published image; ok is false when there is none such. Every other error is one: what a pair has must
// not go because a disk did not answer.
func (s *server) find(ref images.Ref) (img images.Image, ok bool, err error) {
	img, err = s.catalog.Find(ref)
	if errors.Is(err, fs.ErrNotExist) {
		return img, false, nil
	}
	return img, err == nil, err
}
