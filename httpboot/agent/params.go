package agent

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"strings"
)

// Params is what the kernel command line says: the agent's only configuration.
type Params struct {
	// Servers are the boot servers' base URLs without a trailing slash. At least one.
	Servers []string
	// MAC is the boot NIC's, in lower-case colon form. Required.
	MAC string
	// Token is this boot's; empty only for a server that hands out none.
	Token string
	// Address is the one to come up with. Required: the agent speaks no DHCP.
	Address netip.Prefix
	// Gateway is the default router; zero means none.
	Gateway netip.Addr
	// Key verifies the seals of images; nil means that the machine boots no image into RAM.
	Key ed25519.PublicKey
	// Pin is the SHA-256 of the boot servers' TLS key, in base64url; empty means that the machine gets no
	// secrets.
	Pin string
	// Root is the type of root that the boot will most likely have: nfs, or squashfs.
	Root string
}

// ParseParams reads a kernel command line. It names everything that is missing or malformed, not only
// the first; the error wraps fs.ErrInvalid. Parameters of other programs are passed over. As in the
// kernel, the last of several values counts.
func ParseParams(cmdline string) (Params, error) {
	vals := map[string]string{}
	for word := range strings.FieldsSeq(cmdline) {
		if k, v, ok := strings.Cut(word, "="); ok && strings.HasPrefix(k, "muster.") {
			vals[k] = v
		}
	}
	p := Params{Token: vals[ParamToken]}
	var errs []error
	bad := func(key, want string) {
		if vals[key] == "" {
			errs = append(errs, fmt.Errorf("%s= is missing (%s)", key, want))
			return
		}
		errs = append(errs, fmt.Errorf("%s=%q is not %s", key, vals[key], want))
	}
	var err error
	if p.Servers, err = parseServers(vals[ParamServer]); err != nil {
		bad(ParamServer, "the boot servers' URLs, http://10.77.0.1:8080")
	}
	if p.MAC, err = parseMAC(vals[ParamMAC]); err != nil {
		bad(ParamMAC, "the boot NIC's MAC, 52:54:00:aa:00:01")
	}
	if p.Address, err = netip.ParsePrefix(vals[ParamAddress]); err != nil || !p.Address.Addr().Is4() {
		bad(ParamAddress, "an IPv4 address with its prefix length, 10.77.0.100/24")
	}
	if v := vals[ParamGateway]; v != "" {
		if p.Gateway, err = netip.ParseAddr(v); err != nil || !p.Gateway.Is4() {
			bad(ParamGateway, "an IPv4 address, 10.77.0.1")
		}
	}
	for _, v := range []struct{ name, what string }{
		{ParamKey, "an Ed25519 public key (32 bytes in base64url)"},
		{ParamPin, "the SHA-256 of a TLS key (32 bytes in base64url)"},
	} {
		if b, err := base64.RawURLEncoding.Strict().DecodeString(vals[v.name]); vals[v.name] != "" && (err != nil || len(b) != 32) {
			bad(v.name, v.what)
		} else if v.name == ParamKey && vals[v.name] != "" {
			p.Key = b
		}
	}
	p.Pin, p.Root = vals[ParamPin], vals[ParamRoot]
	if rootModules[p.Root] == nil {
		p.Root = "nfs"
	}
	if len(errs) > 0 {
		return Params{}, fmt.Errorf("agent: kernel command line: %w: %w", fs.ErrInvalid, errors.Join(errs...))
	}
	return p, nil
}

func parseServers(s string) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(part)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fs.ErrInvalid
		}
		out = append(out, strings.TrimRight(part, "/"))
	}
	return out, nil
}

// parseMAC reads a six-byte address with colons or hyphens: iPXE writes both.
func parseMAC(s string) (string, error) {
	s = strings.ToLower(strings.ReplaceAll(s, "-", ":"))
	if len(s) != len("52:54:00:aa:00:01") {
		return "", fs.ErrInvalid
	}
	for i, c := range s {
		if colon := i%3 == 2; colon != (c == ':') || (!colon && !strings.ContainsRune("0123456789abcdef", c)) {
			return "", fs.ErrInvalid
		}
	}
	return s, nil
}
