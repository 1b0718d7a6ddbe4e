package serve

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"muster/roles"
)

const (
	// maxStrangers bounds the nodes that no pool has: anybody on the wire can make up a MAC, and each one is a row
	// in the store and on the operator's screen. It is more than a hall of racks holds.
	maxStrangers = 4096
	// strangersAge is how old their number may be: whoever assigned or removed some waits no longer.
	strangersAge = 10 * time.Second
)

// tooManyStrangers is what such a machine shows.
const tooManyStrangers = "the boot server knows too many machines without a pool; have some forgotten (muster node list, muster node forget)"

// strangers bounds the nodes that machines make of themselves. Its zero value is ready.
type strangers struct {
	mu      sync.Mutex // guards all below
	count   int        // at counted, and those let in since
	counted time.Time
	fresh   map[roles.MAC]struct{} // let in since: they may not be in the store yet
}

// admit reports whether a machine is known, or may become it.
func (c *strangers) admit(r *roles.Registry, mac roles.MAC, now time.Time) bool {
	_, err := r.Node(mac.String())
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.fresh[mac]; ok {
		return true
	}
	if now.Sub(c.counted) > strangersAge || c.counted.IsZero() {
		nodes, err := r.Nodes()
		if err != nil {
			return true
		}
		c.count, c.counted, c.fresh = 0, now, map[roles.MAC]struct{}{}
		for _, n := range nodes {
			if n.Pool == "" {
				c.count++
			}
		}
	}
	if c.count >= maxStrangers {
		return false
	}
	c.count++
	c.fresh[mac] = struct{}{}
	return true
}
