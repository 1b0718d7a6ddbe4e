package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// check says everything that keeps this agent from booting s. The error wraps fs.ErrInvalid.
func (s *Spec) check() error {
	var errs []error
	if !hostname(s.Hostname) {
		errs = append(errs, fmt.Errorf("hostname %q is not a DNS label", s.Hostname))
	}
	for label := range strings.SplitSeq(s.Domain, ".") {
		if s.Domain != "" && !hostname(label) {
			errs = append(errs, fmt.Errorf("domain %q is not made of DNS labels", s.Domain))
			break
		}
	}
	if !s.Address.IsValid() || !s.Address.Addr().Is4() {
		errs = append(errs, fmt.Errorf("address %q is not IPv4 with a prefix length", s.Address))
	}
	if s.Gateway.IsValid() && !s.Gateway.Is4() {
		errs = append(errs, fmt.Errorf("gateway %q is not IPv4", s.Gateway))
	}
	if s.Init != "" && !cleanPath(s.Init) {
		errs = append(errs, fmt.Errorf("init %q is not absolute and clean", s.Init))
	}
	switch {
	case s.Root.Type == "squashfs":
		errs = append(errs, checkRAM(s))
	case s.RAM != nil:
		errs = append(errs, fmt.Errorf("root type %q, and one to load into RAM", s.Root.Type))
	default:
		errs = append(errs, checkMount(s.Root, false))
	}
	for _, m := range s.Mounts {
		errs = append(errs, checkMount(m, true))
	}
	errs = append(errs, checkFiles(s.Files))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("agent: boot spec: %w: %w", fs.ErrInvalid, err)
	}
	return nil
}

// init is the image's init.
func (s *Spec) init() string { return cmp.Or(s.Init, "/sbin/init") }

// hostname reports whether s is a DNS label (RFC 1123 §2.1).
func hostname(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// clockSkew is how far off a clock may be: enough for TLS and for logs, and less than a time service
// corrects by itself.
const clockSkew = time.Minute

// setClock takes the server's time when the machine's is far off.
func (a *Agent) setClock(now time.Time) {
	off := time.Until(now)
	if now.IsZero() || off.Abs() <= clockSkew {
		return
	}
	if err := a.System.SetTime(now); err != nil {
		a.Console.Fail("set the clock: %v", err)
		return
	}
	a.Console.Say("the clock was %s off; it is now the boot server's", off.Abs().Round(time.Second))
}

// setAddress gives the machine the spec's address. Nobody else may have it: an address in use is never
// taken, since that would take down its holder.
func (a *Agent) setAddress(ctx context.Context, s *Spec) error {
	if s.Address == a.address {
		if !a.settled {
			a.settled = true
			a.note("network", "%s keeps %v", a.nic, a.address)
		}
		return nil
	}
	// Another prefix length is no other address: nobody can hold it but us.
	if s.Address.Addr() != a.address.Addr() {
		a.preload(neededModules(s))
		who, err := a.Network.Probe(ctx, a.nic, s.Address.Addr())
		if err != nil {
			return fmt.Errorf("probe %v: %w", s.Address.Addr(), err)
		}
		if who != nil {
			return fmt.Errorf("%v is in use: %v answers for it; switch that machine off or change its address", s.Address.Addr(), who)
		}
	}
	if err := a.Network.SetAddress(a.nic, s.Address, s.Gateway); err != nil {
		if back := a.Network.SetAddress(a.nic, a.address, a.params.Gateway); back != nil {
			a.Console.Fail("back to %v: %v", a.address, back)
		}
		return fmt.Errorf("set %v: %w", s.Address, err)
	}
	a.client.moved() // before the next event is on its way
	a.note("network", "%s has %v (was %v)", a.nic, s.Address, a.address)
	a.address, a.settled = s.Address, true
	if err := a.Network.Announce(a.nic, s.Address.Addr()); err != nil {
		a.Console.Fail("announce %v: %v", s.Address, err) // the neighbours find out by themselves
	}
	return nil
}

// writeFiles writes the names that every node has, the spec's own files over them, and the secret ones.
func (a *Agent) writeFiles(s *Spec, secret []File) error {
	w := newWriter(a.path(sysroot), a.volume)
	for _, f := range append(nameFiles(s), s.Files...) {
		if _, err := w.write(f); err != nil {
			return err
		}
	}
	w.ram = true
	for _, f := range secret {
		if _, err := w.write(f); err != nil {
			return err
		}
	}
	return nil
}

// nameFiles are /etc/hostname, /etc/hosts and, when the spec names resolvers, /etc/resolv.conf.
func nameFiles(s *Spec) []File {
	names := s.Hostname
	if s.Domain != "" {
		names = s.Hostname + "." + s.Domain + " " + s.Hostname
	}
	hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + s.Address.Addr().String() + " " + names + "\n"
	out := []File{
		{Path: "/etc/hostname", Content: []byte(s.Hostname + "\n")},
		{Path: "/etc/hosts", Content: []byte(hosts)},
	}
	if len(s.DNS) == 0 {
		return out
	}
	var resolv strings.Builder
	if s.Domain != "" {
		fmt.Fprintf(&resolv, "search %s\n", s.Domain)
	}
	for _, a := range s.DNS {
		fmt.Fprintf(&resolv, "nameserver %s\n", a)
	}
	return append(out, File{Path: "/etc/resolv.conf", Content: []byte(resolv.String())})
}
