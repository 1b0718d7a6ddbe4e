package serve

import (
	"sync"
	"time"

	"muster/dhcpd/lease"
)

const (
	// firmwareTime is how long firmware or iPXE may take from its DHCP request to the kernel, queues and slow
	// downloads included; then somebody else speaks for the machine.
	firmwareTime = 5 * time.Minute
	// maxFirmware bounds the machines that boot at once; one more waits for an IPv6 router as it would
	// without Muster.
	maxFirmware = 10_000
)

// firmware knows which machines are in the hands of their firmware or of iPXE just now: those alone are told
// that there is no IPv6 router. Its zero value is ready.
type firmware struct {
	mu   sync.Mutex
	seen map[lease.MAC]time.Time // when it last spoke DHCP; guarded by mu
}

// spoke notes that the firmware or iPXE of a machine did.
func (f *firmware) spoke(mac lease.MAC, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.seen[mac]; !ok && len(f.seen) >= maxFirmware {
		for m, at := range f.seen {
			if now.Sub(at) > firmwareTime {
				delete(f.seen, m)
			}
		}
		if len(f.seen) >= maxFirmware {
			return
		}
	}
	if f.seen == nil {
		f.seen = map[lease.MAC]time.Time{}
	}
	f.seen[mac] = now
}

// left notes that the machine has loaded what runs next.
func (f *firmware) left(mac lease.MAC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.seen, mac)
}

// runs reports whether it does on that machine.
func (f *firmware) runs(mac lease.MAC, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.seen[mac]
	return ok && now.Sub(at) <= firmwareTime
}
