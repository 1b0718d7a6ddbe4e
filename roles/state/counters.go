package state

import (
	"encoding/binary"
	"errors"
)

// counter is a number that rises: numbers that were given out are never given out again.
type counter struct {
	Name string
	N    uint64
}

// The counters. The revision is not stored here, but by the backend; its row lets a transaction see the
// revision that belongs to what it reads.
const (
	revisionCounter = "revision"
	bootCounter     = "boot"
	eventCounter    = "event"
)

var counterKind = &kind[string, counter]{
	name: "counters",
	key:  func(c *counter) string { return c.Name },
	id:   keyText,
	encode: func(c counter) ([]byte, error) {
		return append(key64(c.N), c.Name...), nil
	},
	decode: func(b []byte) (counter, error) {
		if len(b) < 8 {
			return counter{}, errors.New("a counter has at least eight bytes")
		}
		return counter{string(b[8:]), binary.BigEndian.Uint64(b)}, nil
	},
}

// count is the counter's last number, 0 before the first.
func (t *tx) count(name string) uint64 {
	c, _ := table[string, counter]{t, counterKind}.Get(name)
	return c.N
}

// next gives the counter's next number.
func (t *tx) next(name string) (uint64, error) {
	n := t.count(name) + 1
	return n, table[string, counter]{t, counterKind}.Put(counter{name, n})
}
