package conventions

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// layer says what a package may import of ours. "…/..." is a package and all below it.
type layer struct {
	pkg    string
	may    []string
	reason string
}

// layers is the map of the rooms; the first row that fits a package counts. A package without a row has no
// place yet: think about where it belongs.
var layers = []layer{
	{"images", nil, "an image is made and kept whoever boots it"},
	{"images/...", []string{"images", "images/..."}, "an adapter imports what it adapts, never another room's"},
	{"roles", []string{"images"}, "the domain knows no protocol, no database and no technology"},
	{"roles/library", []string{"roles", "images"}, "built-in roles are data"},
	{"roles/declare", []string{"roles", "roles/declare/strict", "images"}, "rack.yaml is a notation of the domain"},
	{"roles/declare/strict", nil, "it compares any YAML with any Go type, for rack.yaml and muster.yaml alike"},
	{"roles/state/...", []string{"roles", "roles/state/...", "images", "dhcpd/lease", "dhcpd/lease6"}, "it keeps the rack and the leases; an adapter imports no other adapter"},
	{"roles/api/...", []string{"roles", "roles/api/...", "roles/declare", "images"}, "it offers the domain to operators; an adapter imports no other adapter"},
	{"roles/power/...", []string{"roles", "roles/power/..."}, "a power driver needs no more than the interface; an adapter imports no other adapter"},
	{"roles/health/...", []string{"roles", "roles/health/..."}, "a check needs no more than the interface; an adapter imports no other adapter"},
	{"roles/dns/...", []string{"roles", "roles/dns/..."}, "an adapter imports what it adapts, no other adapter"},
	{"dhcpd/...", []string{"dhcpd/..."}, "a protocol knows no policy"},
	{"tftpd/...", []string{"tftpd/..."}, "a protocol knows no policy"},
	{"httpboot", []string{"httpboot/agent", "roles", "images"}, "it speaks with the agent and asks the domain"},
	{"httpboot/agent/...", []string{"httpboot/agent/..."}, "it runs in every node's initrd and must stay small"},
	{"cmd/muster-init", []string{"httpboot/agent/..."}, "it runs in every node's initrd and must stay small"},
	{"cmd/muster/config", []string{"roles", "roles/declare/strict"}, "muster.yaml says how a server runs, not what it serves"},
	{"cmd/muster/doctor", []string{"roles", "images", "dhcpd"}, "it looks from outside, as a machine would"},
	{"cmd/...", []string{"..."}, "it wires everything"},
	{"tests/rack", []string{"roles"}, "a rack of machines works with any boot server"},
	{"tests/...", []string{"images/...", "roles/...", "dhcpd/...", "tftpd/...", "httpboot/...", "tests/..."}, "nothing imports cmd: tests start the real binaries"},
}

func fits(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == pattern
}

func fitsAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, pkg) })
}

// layerFaults tells which imports of ours break the map. Tests may import any room but cmd: they use real
// stores rather than fakes.
func layerFaults(p pkg) []string {
	i := slices.IndexFunc(layers, func(l layer) bool { return fits(l.pkg, p.ImportPath) })
	if i < 0 {
		return []string{p.ImportPath + ": has no row in the map of the rooms (layers in layers_test.go)"}
	}
	var out []string
	for _, im := range p.Imports {
		if our, ok := strings.CutPrefix(im, module); ok && !fitsAny(layers[i].may, our) {
			out = append(out, fmt.Sprintf("%s imports %s: %s", p.ImportPath, our, layers[i].reason))
		}
	}
	for _, im := range slices.Concat(p.TestImports, p.XTestImports) {
		if our, ok := strings.CutPrefix(im, module); ok && fits("cmd/...", our) && !fits("cmd/...", p.ImportPath) {
			out = append(out, fmt.Sprintf("%s imports %s in its tests: nothing imports cmd", p.ImportPath, our))
		}
	}
	return out
}

// only says where a foreign module may be imported, tests included where it says so.
type only struct {
	path   string
	in     []string
	reason string
}

var onlyIn = []only{
	{"github.com/hashicorp/go-memdb", []string{"roles/state/..."}, "no memdb type leaves the store"},
	{"go.etcd.io/bbolt", []string{"roles/state/..."}, "the domain knows no database"},
	{"github.com/spf13/viper", []string{"cmd/muster/config"}, "one place reads muster.yaml"},
	{"github.com/spf13/cobra", []string{"cmd/..."}, "only main reads flags"},
	{"github.com/pin/tftp", []string{"cmd/muster/doctor", "tests/..."}, "it is the client half; the server is ours"},
	{"github.com/insomniacslk/dhcp", []string{"dhcpd/...", "cmd/muster/doctor", "tests/..."}, "DHCP packets stay in the room that speaks DHCP"},
}

func onlyFaults(p pkg) []string {
	var out []string
	for _, o := range onlyIn {
		for _, im := range p.Imports {
			if (im == o.path || strings.HasPrefix(im, o.path+"/")) && !fitsAny(o.in, p.ImportPath) {
				out = append(out, fmt.Sprintf("%s imports %s: %s", p.ImportPath, im, o.reason))
			}
		}
	}
	return out
}

// never says what must not come in by any way.
var never = []struct {
	pkg, dep, reason string
}{
	{"roles", "net/http", "the domain knows no protocol"},
	{"roles", "github.com/prometheus/client_golang/prometheus", "the domain's numbers are its values; who serves them counts them"},
	{"dhcpd/lease6", "github.com/insomniacslk/dhcp/dhcpv6", "the table of leases is addresses and times, for the store as well"},
	{"dhcpd/lease", "github.com/insomniacslk/dhcp/dhcpv4", "the table of leases is addresses and times, for the store as well"},
	{"httpboot/agent", "net/http/httptest", "a node carries no test tools"},
	{"images", "github.com/spf13/cobra", "only main reads flags"},
}

func TestLayers(t *testing.T) {
	bad := pkg{
		ImportPath: "dhcpd/lease", Imports: []string{"net", module + "roles", module + "dhcpd", "github.com/spf13/cobra"},
		XTestImports: []string{module + "roles/state", module + "cmd/muster/config"},
	}
	want := []string{
		"dhcpd/lease imports roles: a protocol knows no policy",
		"dhcpd/lease imports cmd/muster/config in its tests: nothing imports cmd",
	}
	if d := cmp.Diff(want, layerFaults(bad)); d != "" {
		t.Errorf("example: -want +got:\n%s", d)
	}
	if d := cmp.Diff([]string{"dhcpd/lease imports github.com/spf13/cobra: only main reads flags"}, onlyFaults(bad)); d != "" {
		t.Errorf("example: -want +got:\n%s", d)
	}
	if len(layerFaults(pkg{ImportPath: "util"})) != 1 {
		t.Error("example: a package without a place was found none the matter with")
	}

	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, f := range slices.Concat(layerFaults(p), onlyFaults(p)) {
			t.Error(f)
		}
	}
}

func TestNever(t *testing.T) {
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range never {
		i := slices.IndexFunc(all, func(p pkg) bool { return p.ImportPath == n.pkg })
		if i < 0 {
			t.Errorf("there is no package %s", n.pkg)
			continue
		}
		if slices.Contains(all[i].Deps, n.dep) {
			t.Errorf("%s depends on %s: %s (see: go mod why, go list -deps)", n.pkg, n.dep, n.reason)
		}
	}
}
