package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// checkDHCP looks for another DHCP server on each segment: machines would take the answer of whichever is
// faster.
func checkDHCP(ctx context.Context, e *Env) []Finding {
	if e.Offers == nil {
		return nil
	}
	var own []netip.Addr
	for _, i := range e.Interfaces {
		own = append(own, addresses(i)...)
	}
	results := make([][]Finding, len(e.Interfaces))
	var wg sync.WaitGroup
	for i, name := range e.Interfaces {
		wg.Go(func() { results[i] = e.otherServers(ctx, name, own) }) // ends after listenFor
	}
	wg.Wait()
	return slices.Concat(results...)
}

// listenFor is how long answers are waited for: a server that probes before it offers takes a second or two.
const listenFor = 3 * time.Second

func (e *Env) otherServers(ctx context.Context, iface string, own []netip.Addr) []Finding {
	const check = "dhcp"
	ctx, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	offers, err := e.Offers(ctx, iface)
	if err != nil {
		return []Finding{warn(check, "run it as root, with the interface up", "could not look for other DHCP servers on %s: %v", iface, err)}
	}
	var out []Finding
	var seen []netip.Addr
	for _, o := range offers {
		if slices.Contains(own, o.Server) || slices.Contains(seen, o.Server) {
			continue
		}
		seen = append(seen, o.Server)
		what := fmt.Sprintf("another DHCP server on %s: %s offers %s", iface, o.Server, o.Address)
		if !o.Address.IsValid() || o.Address.IsUnspecified() {
			what = fmt.Sprintf("a proxyDHCP server on %s: %s tells machines what to boot", iface, o.Server)
		}
		out = append(out, fail(check, "switch it off, or take it off this network: machines take whichever answers first", "%s", what))
	}
	if len(out) == 0 {
		out = append(out, ok(check, "no other DHCP server on %s", iface))
	}
	return out
}
