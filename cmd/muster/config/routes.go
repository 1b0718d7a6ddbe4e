package config

import "fmt"

// routes checks those of one subnet.
func (c *check) routes(key string, s Subnet) {
	for i, r := range s.Routes {
		at := fmt.Sprintf("%s[%d]", key, i)
		switch to := r.To; {
		case !to.IsValid():
			c.fault(at+".to", "not given: the network behind the router, such as 10.90.0.0/16")
		case !to.Addr().Is4():
			c.fault(at+".to", "%v is not an IPv4 network", to)
		case to != to.Masked():
			c.fault(at+".to", "%v is an address in a network; did you mean %v?", to, to.Masked())
		case to.Bits() == 0 && s.Router.IsValid():
			c.fault(at+".to", "%v: that way is the router's, %v", to, s.Router)
		}
		for j, o := range s.Routes[:i] {
			if o.To == r.To && r.To.IsValid() {
				c.fault(at+".to", "%v is that of routes[%d]", r.To, j)
			}
		}
		switch via := r.Via; {
		case !via.IsValid():
			c.fault(at+".via", "not given: the router's address in %v, or 0.0.0.0 for a network on the link", s.Subnet)
		case !via.Is4() || !via.IsUnspecified() && (!s.Subnet.Contains(via) || via == s.Subnet.Addr() || via == last(s.Subnet)):
			c.fault(at+".via", "%v is no machine of %v: machines could not reach it", via, s.Subnet)
		case s.Range.Contains(via):
			c.fault(at+".via", "%v is in the range, so that it would be lent to machines", via)
		}
	}
}
