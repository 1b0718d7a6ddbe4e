package serve

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/roles"
	"muster/roles/api"
)

// listenDHCP opens the sockets of DHCP, unless it is off.
func (s *server) listenDHCP() (*dhcpd.Conn, error) {
	if s.Config.DHCPD.Mode == config.ModeOff {
		return new(dhcpd.Conn), nil
	}
	return s.dhcp.Listen(s.Config.DHCPD.Interfaces...)
}

// noLeases is the leases of a server that gives no addresses.
type noLeases struct{ why string }

// ReleaseLease implements api.Leasing.
func (n noLeases) ReleaseLease(context.Context, string) (api.LeaseView, error) {
	return api.LeaseView{}, fmt.Errorf("there is no lease to release: %s: %w", n.why, fs.ErrNotExist)
}

// ImportLeases implements api.Leasing.
func (n noLeases) ImportLeases(context.Context, api.LeaseFile) (api.LeaseReport, error) {
	return api.LeaseReport{}, fmt.Errorf("leases are of no use here: %s: %w", n.why, fs.ErrInvalid)
}

const (
	// maxOthers bounds the addresses that are remembered.
	maxOthers = 16_384
	// othersTime is for how long one is: a boot, with queues and retries.
	othersTime = 15 * time.Minute
)

// others are the addresses that machines have of another DHCP server, as they said them while they booted. They tell
// whose a download is, and whose boot files TFTP gives to an address (orders.go): no more than the iPXE script gives to
// who says that MAC. The zero value knows none.
type others struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]other // guarded by mu
}

type other struct {
	mac  roles.MAC
	seen time.Time
}

// seen notes that a machine has an address.
func (o *others) seen(a netip.Addr, mac roles.MAC, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.byAddr[a]; !ok && len(o.byAddr) >= maxOthers {
		for a, x := range o.byAddr {
			if now.Sub(x.seen) > othersTime {
				delete(o.byAddr, a)
			}
		}
		if len(o.byAddr) >= maxOthers {
			return
		}
	}
	if o.byAddr == nil {
		o.byAddr = map[netip.Addr]other{}
	}
	o.byAddr[a] = other{mac, now}
}

// holder is the machine that was last seen with an address, if that is not long ago: the other server may have given it
// to somebody else since.
func (o *others) holder(a netip.Addr, now time.Time) (roles.MAC, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x, ok := o.byAddr[a]
	if !ok || now.Sub(x.seen) > othersTime {
		return roles.MAC{}, false
	}
	return x.mac, true
}
