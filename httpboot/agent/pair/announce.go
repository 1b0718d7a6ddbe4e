package pair

import "time"

// announceFor is how long the daemon goes on telling the segment where the floating address is after it came: switches
// that were busy with the same failure, and machines that only boot now.
const announceFor = 30 * time.Second

// announceAgain repeats the announcement of a new address.
func (d *Daemon) announceAgain(active bool) {
	if !active {
		d.activeFrom = time.Time{}
		return
	}
	if d.activeFrom.IsZero() {
		d.activeFrom = time.Now()
	}
	if time.Since(d.activeFrom) > announceFor {
		return
	}
	if nic, err := d.Network.Find(d.Config.Floating.Addr()); err == nil && nic != "" {
		d.Network.Announce(nic, d.Config.Floating.Addr()) // it was announced at the start: this one may fail
	}
}
