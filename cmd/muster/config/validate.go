package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"muster/roles/declare/strict"
)

// Bounds of values that are only ever beyond them by mistake.
const (
	// leaseMin: below it the renewals of a rack are a load of their own.
	leaseMin = 10e9
	// lookoutMin: each look lasts 6 s, and other servers keep an address for each of them for a while.
	lookoutMin = 30e9
	// interfaceMax is IFNAMSIZ less the final zero.
	interfaceMax = 15
	// socketMax is the size of sun_path less the final zero.
	socketMax = 107
)

// Validate reports everything that is wrong with c, each as a *Fault without a line, joined.
func (c *Config) Validate() error {
	return join("", c.faults(func(string) int { return 0 }))
}

// check collects faults; line gives a key's line.
type check struct {
	line   func(key string) int
	faults []*Fault
}

func (c *check) fault(key, format string, args ...any) {
	c.faults = append(c.faults, &Fault{Line: c.line(key), Key: key, Msg: fmt.Sprintf(format, args...)})
}

func (c *Config) faults(line func(string) int) []*Fault {
	k := &check{line: line}
	k.dir("data", c.Data)
	k.dir("library", c.Library)
	k.mode(&c.DHCPD)
	k.interfaces(c.DHCPD.Interfaces)
	k.subnets(c.DHCPD.Subnets, c.DHCPD.Addresses())
	k.subnets6(c.DHCPD.Subnets6)
	k.listen("tftpd.listen", c.TFTPD.Listen)
	k.dir("tftpd.ipxe", c.TFTPD.IPXE)
	k.tftp(c.TFTPD)
	k.listen("httpboot.listen", c.HTTPBoot.Listen)
	k.listen("httpboot.secure", c.HTTPBoot.Secure)
	k.apart("httpboot.secure", c.HTTPBoot.Secure, "httpboot.listen", c.HTTPBoot.Listen)
	k.optionalDir("httpboot.templates", c.HTTPBoot.Templates)
	k.optionalDir("httpboot.files", c.HTTPBoot.Files)
	k.nfs(c.Images.NFS)
	k.api(c.API)
	k.apart("api.listen", c.API.Listen, "httpboot.listen", c.HTTPBoot.Listen)
	k.apart("api.listen", c.API.Listen, "httpboot.secure", c.HTTPBoot.Secure)
	k.apart("api.secure", c.API.Secure, "httpboot.listen", c.HTTPBoot.Listen)
	k.apart("api.secure", c.API.Secure, "httpboot.secure", c.HTTPBoot.Secure)
	k.apart("api.secure", c.API.Secure, "api.listen", c.API.Listen)
	if c.State.Backend == "etcd" {
		k.fault("state.backend", "etcd is not supported yet; want file")
	} else {
		k.oneOf("state.backend", c.State.Backend, "file")
	}
	k.oneOf("log.format", c.Log.Format, "text", "json")
	if c.Power.Lab != nil {
		k.socket("power.lab.socket", c.Power.Lab.Socket)
	}
	return k.faults
}

func (c *check) oneOf(key, value string, want ...string) {
	if slices.Contains(want, value) {
		return
	}
	hint := ""
	if near := strict.Nearest(value, want); near != "" && value != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	c.fault(key, "%q is not one of %s%s", value, strings.Join(want, ", "), hint)
}

func (c *check) dir(key, path string) {
	if !filepath.IsAbs(path) {
		c.fault(key, "%q is not an absolute path (it begins with /)", path)
	}
}

func (c *check) optionalDir(key, path string) {
	if path != "" {
		c.dir(key, path)
	}
}

func (c *check) socket(key, path string) {
	c.dir(key, path)
	if len(path) > socketMax {
		c.fault(key, "the path has %d bytes; a unix socket's may have %d", len(path), socketMax)
	}
}

// listen checks host:port and returns it; the host may be empty. Port 0 is for tests: the kernel chooses.
func (c *check) listen(key, s string) (host netip.Addr, port uint16, ok bool) {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		c.fault(key, "%q is not an address to listen on (want the form \":8080\" or \"10.77.0.1:8080\")", s)
		return
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		c.fault(key, "%q is not a port (0 to 65535)", p)
		return
	}
	if h != "" {
		if host, err = netip.ParseAddr(h); err != nil {
			c.fault(key, "%q is not an address of this machine (want an address, not a name)", h)
			return
		}
	}
	return host, uint16(n), true
}

func (c *check) interfaces(names []string) {
	if len(names) == 0 {
		c.fault("dhcpd.interfaces", "none given: name those that the machines boot from, such as [eth1]")
	}
	for i, n := range names {
		key := fmt.Sprintf("dhcpd.interfaces[%d]", i)
		switch {
		case n == "" || len(n) > interfaceMax || strings.ContainsAny(n, "/ \t"):
			c.fault(key, "%q is not the name of an interface (see: ip link)", n)
		case n == "lo":
			c.fault(key, "no machine boots from the loopback interface")
		case slices.Contains(names[:i], n):
			c.fault(key, "%q is given twice", n)
		}
	}
}

func (c *check) nfs(n NFS) {
	c.oneOf("images.nfs.server", n.Server, "auto", "ganesha", "kernel", "external")
	external := n.Server == "external"
	switch {
	case external && !n.Address.IsValid():
		c.fault("images.nfs.address", "not given: with server external, nodes must know where to mount from")
	case n.Address.IsValid() && (!n.Address.Is4() || n.Address.IsUnspecified() || n.Address.IsLoopback()):
		c.fault("images.nfs.address", "nodes cannot mount from %s", n.Address)
	}
	if n.Path != "" {
		c.dir("images.nfs.path", n.Path)
		if !external {
			c.fault("images.nfs.path", "only server external has a path of its own")
		}
	}
}

func (c *check) api(a API) {
	c.socket("api.socket", a.Socket)
	if a.Secure != "" {
		c.listen("api.secure", a.Secure)
	} else if a.Certificate != "" {
		c.fault("api.certificate", "api.secure is not set: nothing would use it")
	}
	if a.Listen == "" {
		return
	}
	host, port, ok := c.listen("api.listen", a.Listen)
	if !ok {
		return
	}
	// Whoever listens on the way would have the token.
	if !host.IsLoopback() {
		c.fault("api.listen", "%q is not a loopback address: everybody on that network could run the rack "+
			"(want 127.0.0.1:%d, and ssh to it, or api.secure)", a.Listen, port)
	}
}

// apart checks that two listeners do not want the same port. What is wrong with one of them by itself was told
// already.
func (c *check) apart(key, listen, otherKey, other string) {
	host, port, err := net.SplitHostPort(listen)
	otherHost, otherPort, otherErr := net.SplitHostPort(other)
	if err != nil || otherErr != nil || port == "0" || port != otherPort {
		return
	}
	all := func(host string) bool {
		a, _ := netip.ParseAddr(host)
		return !a.IsValid() || a.IsUnspecified()
	}
	if host == otherHost || all(host) || all(otherHost) {
		c.fault(key, "port %s is %s's already", port, otherKey)
	}
}
