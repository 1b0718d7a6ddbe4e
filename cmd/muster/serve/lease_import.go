package serve

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd/lease"
	"muster/dhcpd/leasefile"
	"muster/roles"
	"muster/roles/api"
)

// ImportLeases implements api.Leasing: one commit for all that fits, or nothing.
func (l *Leases) ImportLeases(ctx context.Context, q api.LeaseFile) (api.LeaseReport, error) {
	f, err := leasefile.Parse(q.Text, leasefile.Format(q.Format))
	if err != nil {
		return api.LeaseReport{}, err
	}
	if !q.DryRun { // DHCP need not wait for a look
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	p, err := l.plan(f)
	if err != nil {
		return api.LeaseReport{}, err
	}
	if !q.DryRun {
		// Before the commit: what is decided meanwhile finds it, and what fails leaves nothing in the table to hold.
		a := &arrivals{map[netip.Addr]lease.MAC{}, p.now.Add(arrivalTime)}
		for _, one := range p.puts {
			a.holders[one.Addr] = one.MAC
		}
		l.recent.Store(a)
		if err := l.Store.CommitLeases(ctx, p.puts, nil); err != nil {
			return api.LeaseReport{}, err
		}
	}
	return p.report(f, q), nil
}

// report tells what became of the file.
func (p *leasePlan) report(f *leasefile.File, q api.LeaseFile) api.LeaseReport {
	r := api.LeaseReport{Format: string(f.Format), DryRun: q.DryRun, Results: map[string]int{}, Lines: []api.LeaseLine{}}
	for _, x := range f.Faults {
		p.lines = append(p.lines, api.LeaseLine{Line: x.Line, Result: api.LeaseBad, Why: x.Msg})
	}
	slices.SortStableFunc(p.lines, func(a, b api.LeaseLine) int { return cmp.Compare(a.Line, b.Line) })
	for _, line := range p.lines {
		r.Results[line.Result]++
		if plain := line.Result == api.LeaseOld || line.Result == api.LeaseImported && line.Why == ""; q.All || !plain {
			r.Lines = append(r.Lines, line)
		}
	}
	if f.V6 > 0 {
		r.Results[api.LeaseV6] = f.V6
	}
	return r
}

// leasePlan decides about a file.
type leasePlan struct {
	*Leases
	now   time.Time
	hosts hosts
	pools []roles.Pool
	nodes map[lease.MAC]roles.Node // those with a slot
	best  map[lease.MAC]leasefile.Entry
	puts  []lease.Lease
	lines []api.LeaseLine
}

// plan decides about every lease of f. For what is to be committed, l.mu must be held.
func (l *Leases) plan(f *leasefile.File) (*leasePlan, error) {
	p := &leasePlan{Leases: l, now: l.now(), hosts: hostsOf(l.Subnets), nodes: map[lease.MAC]roles.Node{}, best: map[lease.MAC]leasefile.Entry{}}
	err := l.Store.View(func(tx roles.Tx) error {
		for pool := range tx.Pools().All() {
			p.pools = append(p.pools, pool)
		}
		for n := range tx.Nodes().All() {
			if n.Slot != "" {
				p.nodes[lease.MAC(n.MAC)] = n
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A machine has one lease. Of several (other servers tell its programs apart by their client identifiers) it
	// keeps the one that it asked for last.
	for _, e := range f.Entries {
		if result, _ := p.refuse(e); result != "" || e.Keep().MAC != e.MAC {
			continue
		}
		if o, ok := p.best[e.MAC]; !ok || e.Expires.After(o.Expires) || e.Expires.Equal(o.Expires) && e.Line > o.Line {
			p.best[e.MAC] = e
		}
	}
	for _, e := range f.Entries {
		p.take(e)
	}
	return p, nil
}

// take decides about one lease.
func (p *leasePlan) take(e leasefile.Entry) {
	line := api.LeaseLine{Line: e.Line, Address: e.Addr, MAC: roles.MAC(e.MAC), Hostname: e.Hostname, Expires: e.Expires}
	if line.Result, line.Why = p.refuse(e); line.Result == "" {
		put := e.Keep()
		line.Result = api.LeaseImported
		if why := p.hold(e); why != "" {
			line.Result, line.Why = api.LeaseHeld, why
			put = leasefile.Quarantine(e.Addr, e.Expires)
		} else if e.Expires.Equal(leasefile.Never) {
			line.Why = fmt.Sprintf("it never expires; to keep it for good, write into the subnet's hosts: {mac: %s, address: %s}", e.MAC, e.Addr)
		}
		if had, ok := p.Store.Leases().ByAddr(e.Addr); ok && had.MAC == put.MAC && had.Expires.After(put.Expires) {
			put.Expires = had.Expires
		}
		p.puts = append(p.puts, put)
	}
	p.lines = append(p.lines, line)
}

// refuse says why an address is none to take over; "" for one that is.
func (p *leasePlan) refuse(e leasefile.Entry) (result, why string) {
	sub, ok := p.subnetOf(e.Addr)
	if !ok {
		return api.LeaseOutside, "it is in no subnet that DHCP serves"
	}
	if e.Free || !e.Active(p.now) {
		return api.LeaseOld, ""
	}
	if why := taken(p.pools, e.Addr); why != "" {
		return api.LeaseConflict, "it is " + why
	}
	h, hosted := p.hosts.byAddr[e.Addr]
	switch {
	case hosted && h.MAC != roles.MAC(e.MAC):
		return api.LeaseConflict, fmt.Sprintf("it is the address of the host %s in muster.yaml", h.MAC)
	case slices.Contains(p.Own, e.Addr):
		return api.LeaseConflict, "it is this server's own address"
	case e.Addr == sub.Router:
		return api.LeaseConflict, "it is the router's address"
	case !hosted && !sub.Range.Contains(e.Addr):
		return api.LeaseOutside, fmt.Sprintf("it is not in the range of %s, %s: its machine gets another address when it renews", sub.Subnet, sub.Range)
	}
	had, ok := p.Store.Leases().ByAddr(e.Addr)
	switch {
	case !ok || !had.Active(p.now) || had.MAC == e.Keep().MAC:
	case had.Declined:
		return api.LeaseConflict, "it is held back already, until " + had.Expires.UTC().Format(time.RFC3339)
	default:
		return api.LeaseConflict, fmt.Sprintf("this server has lent it to %s, until %s", had.MAC, had.Expires.UTC().Format(time.RFC3339))
	}
	return "", ""
}

// hold says why nobody gets the address before the lease ends; "" where its machine keeps it. A machine that has another
// address of this server may still use the one in the file until it renews.
func (p *leasePlan) hold(e leasefile.Entry) string {
	if e.Declined {
		return "a machine found it in use by another one"
	}
	if e.Keep().MAC != e.MAC {
		return "its machine is not known by an Ethernet address"
	}
	if n, ok := p.nodes[e.MAC]; ok {
		return fmt.Sprintf("its machine is %s now, at %s", n.Slot, n.Address)
	}
	for _, h := range p.hosts.byMAC[roles.MAC(e.MAC)] {
		if h.subnet.Contains(e.Addr) && h.Address != e.Addr {
			return fmt.Sprintf("its machine has the fixed address %s in muster.yaml", h.Address)
		}
	}
	if had, ok := p.Store.Leases().ByMAC(e.MAC); ok && had.Addr != e.Addr && had.Active(p.now) {
		return fmt.Sprintf("its machine has %s of this server", had.Addr)
	}
	if o := p.best[e.MAC]; o.Addr != e.Addr {
		return fmt.Sprintf("its machine had %s later (line %d), and has one address here", o.Addr, o.Line)
	}
	return ""
}

func (p *leasePlan) subnetOf(a netip.Addr) (config.Subnet, bool) {
	for _, s := range p.Subnets {
		if s.Subnet.Contains(a) {
			return s, true
		}
	}
	return config.Subnet{}, false
}
