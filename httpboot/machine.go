package httpboot

import (
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// machine reads what iPXE says in the query. known is false when iPXE had only the plain URL, from DHCP:
// then the script asks. A MAC that is none is an error for the machine's screen.
func machine(r *http.Request) (m Machine, known bool, err error) {
	q := r.URL.Query()
	m = Machine{
		UUID: strings.ToLower(text(q, "uuid")), Arch: text(q, "arch"), Platform: platform(text(q, "platform")),
		Manufacturer: text(q, "manufacturer"), Product: text(q, "product"), Serial: text(q, "serial"), Asset: text(q, "asset"),
		Remote: remote(r), Server: local(r), Base: base(r),
	}
	m.IP, _ = netip.ParseAddr(q.Get("ip"))
	if !q.Has("mac") {
		return m, false, nil
	}
	m.MAC, err = parseMAC(q.Get("mac"))
	return m, true, err
}

// textSize bounds one text of the firmware: SMBIOS strings are 64 characters, as a rule.
const textSize = 128

const hexSuffix = ":hex"

// plainRE is what needs no hex.
var plainRE = regexp.MustCompile(`^[0-9A-Za-z._-]*$`)

// text reads key, or key:hex. The scripts use hex for what people may have typed: the iPXE that Debian
// ships (2019) leaves & as it is in ${x:uristring}, and expands a ${…} that it finds in a value.
func text(q url.Values, key string) string {
	s := q.Get(key)
	if b, err := hex.DecodeString(q.Get(key + hexSuffix)); err == nil && len(b) > 0 {
		s = string(b)
	}
	s = strings.ToValidUTF8(strings.Trim(s, " \x00"), "?")
	if len(s) > textSize {
		s = strings.ToValidUTF8(s[:textSize], "")
	}
	return s
}

// platform translates iPXE's ${platform}.
func platform(s string) string {
	switch s {
	case "pcbios":
		return "bios"
	case "efi":
		return "uefi"
	}
	return s
}

// parseMAC reads what ${netX/mac:hexhyp} gives: six bytes. An InfiniBand port has more.
func parseMAC(s string) (string, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", &kindError{"the NIC's address " + strings.ToValidUTF8(s[:min(len(s), textSize)], "?") + " is no Ethernet MAC", errNoMAC}
	}
	return hw.String(), nil
}

// hostRE is what a Host header may hold to become part of a script.
var hostRE = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?$`)

// base is the URL by which the machine reached this server: what it said in Host, so that it works
// through a port forwarding, or the local address for HTTP/1.0.
func base(r *http.Request) string {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	if len(r.Host) <= 255 && hostRE.MatchString(r.Host) {
		return scheme + r.Host
	}
	return scheme + local(r).String()
}

// query is m as its script asks again: what machine reads.
func (m Machine) query() string {
	platform := m.Platform
	switch platform {
	case "bios":
		platform = "pcbios"
	case "uefi":
		platform = "efi"
	}
	q := url.Values{}
	for k, v := range map[string]string{
		"mac": strings.ReplaceAll(m.MAC, ":", "-"), "uuid": m.UUID, "arch": m.Arch, "platform": platform, "asset": m.Asset,
		"manufacturer": m.Manufacturer, "product": m.Product, "serial": m.Serial,
	} {
		switch {
		case v == "":
		case plainRE.MatchString(v):
			q.Set(k, v)
		default:
			q.Set(k+hexSuffix, hex.EncodeToString([]byte(v)))
		}
	}
	if m.IP.IsValid() {
		q.Set("ip", m.IP.String())
	}
	return q.Encode()
}
