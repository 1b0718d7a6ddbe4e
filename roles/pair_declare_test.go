package roles_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/roles/declare"
)

func TestPairFaults(t *testing.T) {
	const role, web = "roles: [{name: storage, root: ram}, {name: web}]\npools:\n", "- {name: web, role: web, storage: storage, addresses: 10.77.0.20-10.77.0.29}\n"
	const good = "- {name: storage, role: storage, size: {min: 2, max: 2}, addresses: 10.77.0.10-10.77.0.11, pair: {address: 10.77.0.9, disk: {path: /dev/disk/by-path/a}}}\n"
	pool := func(old, new string) string { return role + strings.Replace(good, old, new, 1) }
	tests := []struct{ yaml, want string }{
		{role + good + web, ""},
		{pool("max: 2", "max: 1") + web, "exactly two slots, not 1"},
		{pool("address: 10.77.0.9, ", ""), "pair.address: is missing"},
		{pool("10.77.0.9", "10.77.0.10"), "is one of the slots'"},
		{pool("10.77.0.9", "fd00::1"), "only IPv4"},
		{pool("10.77.0.9", "10.78.0.9"), "in no subnet that DHCP serves"},
		{pool("10.77.0.9", "10.77.0.101"), "one that DHCP gives to any machine"},
		{pool("10.77.0.9", "10.77.0.1"), "is the boot server's"},
		{pool("10.77.0.9", "10.77.0.25") + web, "is in the addresses of pool web"},
		{pool("disk: {path: /dev/disk/by-path/a}", "disk: {}"), "is never guessed"},
		{pool("path: /dev/disk/by-path/a", "path: sda"), "is not a device"},
		{pool("path: /dev/disk/by-path/a", `serial: "["`), "is malformed"},
		{pool("path: /dev/disk/by-path/a", `sizeMin: -1`), "cannot be negative"},
		{pool("pair: {", "pair: {backupAge: -1h, "), "pair.backupAge: cannot be negative"},
		{pool("path: /dev/disk/by-path/a", `sizeMin: .nan`), "is no size"},
		{pool("path: /dev/disk/by-path/a", `sizeMin: .inf`), "is no size"},
		{pool("10.77.0.9", "10.77.0.255"), "is the network's own"},
		{pool("10.77.0.9", "10.77.0.0"), "is the network's own"},
		{pool("role: storage", "role: web"), "need root: ram"},
		{pool("pair: {", "storage: web, pair: {"), "a storage pair has none itself"},
		{role + good + strings.Replace(web, "storage: storage", "storage: web", 1), "cannot be its own storage"},
		{role + good + strings.Replace(web, "storage: storage", "storage: disks", 1), `pool "disks" does not exist`},
		{role + good + web + "- {name: ntp, role: web, storage: web, addresses: 10.77.0.40-10.77.0.41}", "pool web is no storage pair"},
		{role + good + strings.NewReplacer("name: storage", "name: more", "0.10-10.77.0.11", "0.12-10.77.0.13").Replace(good), "is that of pool more"},
	}
	for _, tt := range tests {
		r := emptyRack(t)
		d, err := declare.Parse([]byte(tt.yaml), "rack.yaml")
		if err == nil {
			_, err = r.Apply(t.Context(), d, roles.ApplyOptions{})
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, fs.ErrInvalid)) {
			t.Errorf("%s\ngot %v, want %q", tt.yaml, err, tt.want)
		}
	}
}

// emptyRack has a network, and nothing declared.
func emptyRack(t *testing.T) *rack {
	r := newRack(t)
	if _, err := r.Apply(t.Context(), roles.Declaration{}, roles.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	net := netip.MustParsePrefix("10.77.0.0/24")
	r.Subnets = []netip.Prefix{net}
	r.Ranges = []roles.AddressRange{{First: netip.MustParseAddr("10.77.0.100"), Last: netip.MustParseAddr("10.77.0.120")}}
	r.Network = func(a netip.Addr) (roles.Network, bool) {
		return roles.Network{Prefix: net, Server: netip.MustParseAddr("10.77.0.1")}, net.Contains(a)
	}
	return r
}

func TestPairChanges(t *testing.T) {
	p := wholePair(t)
	apply := func(yaml string, o roles.ApplyOptions) ([]roles.Change, error) {
		return p.Apply(t.Context(), p.parse(yaml), o)
	}
	moved := strings.Replace(pairYAML, "10.77.0.9", "10.77.0.8", 1)
	if _, err := apply(moved, roles.ApplyOptions{}); err == nil || !strings.Contains(err.Error(), "while the pair serves") {
		t.Errorf("the address of a pair that serves: %v", err)
	}
	if _, err := apply(strings.Replace(pairYAML, "pair: {address: 10.77.0.9, disk: {serial: \"DATA-*\"}},", "", 1), roles.ApplyOptions{}); err == nil ||
		!strings.Contains(err.Error(), "pool storage is no storage pair") || !strings.Contains(err.Error(), "occupies storage-01") {
		t.Errorf("no pair any more: %v", err)
	}
	p.restart() // it serves, and this process has not heard so yet
	p.tick(0)
	if _, err := apply(moved, roles.ApplyOptions{}); err == nil || !strings.Contains(err.Error(), "while the pair serves") {
		t.Errorf("the address of a pair that is not heard yet: %v", err)
	}
	p.run()
	p.now = p.now.Add(15 * time.Second) // a pause
	if _, err := apply(moved, roles.ApplyOptions{}); err == nil {
		t.Error("the address of a pair that fails over")
	}
	p.tick(time.Minute)
	changes, err := apply(moved, roles.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, c := range changes {
		for _, f := range c.Fields {
			fields = append(fields, c.Name+" "+f.Field+": "+f.Old+" → "+f.New)
		}
	}
	if want := `storage pair: {address: 10.77.0.9, disk: {serial: DATA-*}} → {address: 10.77.0.8, disk: {serial: DATA-*}}`; strings.Join(fields, "\n") != want {
		t.Errorf("changes %q", fields)
	}
	if d, err := p.Export(); err != nil || d.Pools[0].Pair == nil || d.Pools[1].Storage != "storage" {
		t.Errorf("export %+v, %v", d, err)
	}
	const web = "roles: [{name: web}]\npools: [{name: web, role: web, addresses: 10.77.0.20-10.77.0.29}]"
	for _, m := range []roles.MAC{st1, st2} {
		if _, err := p.Release(t.Context(), m.String()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := apply(strings.Replace(web, "role: web,", "role: web, storage: storage,", 1), roles.ApplyOptions{Prune: true}); err == nil || !strings.Contains(err.Error(), `pool "storage" does not exist`) {
		t.Errorf("storage is deleted under its users: %v", err)
	}
	changes, err = apply(web, roles.ApplyOptions{Prune: true})
	if err != nil {
		t.Fatal(err)
	}
	noted := false
	for _, c := range changes {
		noted = noted || c.Action == "delete" && strings.Contains(c.Note, "(DATA-1, DATA-2) stays, but they are strangers then")
	}
	if !noted {
		t.Errorf("changes %+v", changes)
	}
	if err := p.Store.View(func(tx roles.Tx) error {
		if _, ok := tx.Pairs().Get("storage"); ok {
			t.Error("the pair is still known")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
