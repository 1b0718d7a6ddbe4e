package pair

import (
	"net/netip"
	"strings"
	"testing"
)

// A volume of two roles is one mount point, exported to each as its role says.
func TestExportsOfOnePath(t *testing.T) {
	to := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	c := Contents{Exports: []Export{
		{Path: "volumes/www", Clients: to("10.77.0.20/32"), NoRootSquash: true},
		{Path: "volumes/www", Clients: to("10.77.0.30/32"), ReadOnly: true},
	}}
	all, err := offers(c)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	const dir = "/run/muster/pair/export/volumes/www "
	id := ",fsid=" + fsid("volumes/www") + ")\n"
	want := dir + "10.77.0.20(rw,sync,no_subtree_check,no_root_squash" + id + dir + "10.77.0.30(ro,sync,no_subtree_check,root_squash" + id
	if got := exportsText(c, all); !strings.HasSuffix(got, "\n"+want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
