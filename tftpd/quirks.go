package tftpd

import (
	"net/netip"
	"sync"
	"time"
)

// Quirks are what a client needs to be served differently. The zero value means nothing.
type Quirks struct {
	// MaxBlksize and MaxWindow bound what is agreed on, in bytes and blocks; zero means what the server does for
	// all. A window of 1 means that the option is ignored.
	MaxBlksize, MaxWindow int
	// Rollover is the block number that follows 65,535: 0, or 1 as some firmware wants it.
	Rollover uint16
}

const (
	// weakTime is how long a client is offered a smaller window after one kept being lost.
	weakTime = 10 * time.Minute
	// maxWeak bounds the clients that are remembered.
	maxWeak = 4096
)

// weaknesses remembers the clients whose windows kept being lost, so that their next file comes in smaller ones. Its
// zero value is ready.
type weaknesses struct {
	mu   sync.Mutex
	seen map[netip.Addr]weakness // guarded by mu
}

type weakness struct {
	window int
	until  time.Time
}

// window is the largest for a client; 0 means that there is nothing against any.
func (w *weaknesses) window(a netip.Addr, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, ok := w.seen[a]
	if !ok {
		return 0
	}
	if now.After(k.until) {
		delete(w.seen, a)
		return 0
	}
	return k.window
}

// note takes note of a transfer in windows of so many blocks.
func (w *weaknesses) note(a netip.Addr, window int, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) >= maxWeak {
		for b, k := range w.seen {
			if now.After(k.until) {
				delete(w.seen, b)
			}
		}
		if len(w.seen) >= maxWeak {
			return
		}
	}
	if w.seen == nil {
		w.seen = map[netip.Addr]weakness{}
	}
	w.seen[a] = weakness{max(1, window/4), now.Add(weakTime)}
}
