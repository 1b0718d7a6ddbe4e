package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/roles"
)

// stable is the file whose keys are promised not to change.
const stable = `data: /var/lib/muster
dhcpd:
  interfaces: [eth1]
  subnets:
  - {subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199, router: 10.77.0.1, dns: [10.77.0.1], domain: rack.example, lease: 1h}
tftpd:    {listen: ":69"}
httpboot: {listen: ":8080"}
images:   {nfs: {server: auto}}      # auto | ganesha | kernel | external
api:      {socket: /run/muster/muster.sock, listen: "127.0.0.1:8081"}
state:    {backend: file}            # file | etcd (later)
log:      {level: info, format: text}
`

const minimal = `dhcpd:
  interfaces: [eth1]
  subnets: [{subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199}]
`

var equal = []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, roles.AddressRange{}), cmpopts.EquateEmpty()}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestParseStable(t *testing.T) {
	got, err := Parse([]byte(stable))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DHCPD = DHCPD{
		Lookout:    DefaultLookout,
		Interfaces: []string{"eth1"},
		Subnets: []Subnet{{
			Subnet: netip.MustParsePrefix("10.77.0.0/24"),
			Range:  roles.AddressRange{First: addr("10.77.0.100"), Last: addr("10.77.0.199")},
			Router: addr("10.77.0.1"),
			DNS:    []netip.Addr{addr("10.77.0.1")},
			Domain: "rack.example",
			Lease:  time.Hour,
		}},
	}
	if d := cmp.Diff(want, got, equal...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestParseShortHasDefaults(t *testing.T) {
	got, err := Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DHCPD = got.DHCPD
	if d := cmp.Diff(want, got, equal...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if s := got.DHCPD.Subnets[0]; s.Lease != DefaultLease || s.Router.IsValid() || len(s.DNS) != 0 {
		t.Errorf("subnet: got %+v", s)
	}
}

func TestParseEveryKey(t *testing.T) {
	got, err := Parse([]byte(minimal + `data: /srv/m
library: /srv/roles
tftpd: {listen: "10.77.0.1:6969", ipxe: /opt/ipxe}
httpboot: {listen: "10.77.0.1:80", secure: "10.77.0.1:443", templates: /etc/muster/ipxe, files: /srv/files}
images: {nfs: {server: external, address: 10.77.0.5, path: /export/muster, port: 12049, mountport: 2050}}
api: {socket: /tmp/s, listen: ""}
log: {level: debug, format: json}
power: {lab: {socket: /run/lab/power.sock}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Data: "/srv/m", Library: "/srv/roles", DHCPD: got.DHCPD,
		TFTPD:    TFTPD{Listen: "10.77.0.1:6969", IPXE: "/opt/ipxe"},
		HTTPBoot: HTTPBoot{Listen: "10.77.0.1:80", Secure: "10.77.0.1:443", Templates: "/etc/muster/ipxe", Files: "/srv/files"},
		Images:   Images{NFS: NFS{Server: "external", Address: addr("10.77.0.5"), Path: "/export/muster", Port: 12049, MountPort: 2050}},
		API:      API{Socket: "/tmp/s"},
		State:    State{Backend: "file"},
		Log:      Log{Level: slog.LevelDebug, Format: "json"},
		Power:    Power{Lab: &LabPower{Socket: "/run/lab/power.sock"}},
	}
	if d := cmp.Diff(want, got, equal...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A section that is there but empty is the same as one that is not.
func TestParseEmptySections(t *testing.T) {
	for _, s := range []string{"tftpd:", "tftpd: {}", "tftpd: {listen: }", "tftpd: ~"} {
		got, err := Parse([]byte(minimal + s + "\n"))
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if got.TFTPD.Listen != ":69" {
			t.Errorf("%s: listen is %q", s, got.TFTPD.Listen)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "muster.yaml")
	_, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "muster setup") {
		t.Errorf("no file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("dat: /x\n"+minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	want := path + `:1: dat: unknown key; did you mean "data"?`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrInvalid) {
		t.Error("a fault is not an fs.ErrInvalid")
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was read")
	}
}

// What is at fault is reported, never a panic, and what was accepted is valid.
func FuzzParse(f *testing.F) {
	f.Add([]byte(stable))
	f.Add([]byte(minimal))
	f.Add([]byte("a: &a [*a]\n<<: {b: c}\n"))
	f.Add([]byte("dhcpd: {subnets: [{subnet: 0.0.0.0/0, range: 1.1.1.1-1.1.1.1}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("accepted, but: %v", err)
		}
	})
}
