package doctor

import (
	"context"
	"slices"
)

// checkDHCP looks for another DHCP server on each segment: machines would take the answer of whichever is
// faster.
func checkDHCP(ctx context.Context, e *Env) []Finding {
	const check = "dhcp"
	if e.Offers == nil {
		return nil
	}
	var own []string
	for _, i := range e.Interfaces {
		for _, a := range addresses(i) {
			own = append(own, a.String())
		}
	}
	var out []Finding
	for _, i := range e.Interfaces {
		offers, err := e.Offers(ctx, i)
		if err != nil {
			out = append(out, warn(check, "run it as root, with the interface up", "could not look for other DHCP servers on %s: %v", i, err))
			continue
		}
		var seen []string
		for _, o := range offers {
			server := o.Server.String()
			if slices.Contains(own, server) || slices.Contains(seen, server) {
				continue
			}
			seen = append(seen, server)
			out = append(out, fail(check, "switch it off, or take it off this network: machines take whichever answers first",
				"another DHCP server on %s: %s offers %s", i, server, o.Address))
		}
		if len(seen) == 0 {
			out = append(out, ok(check, "no other DHCP server on %s", i))
		}
	}
	return out
}
