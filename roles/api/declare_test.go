package api

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"muster/roles"
)

func actions(changes []roles.Change) (out []string) {
	for _, c := range changes {
		out = append(out, c.Action+" "+c.Kind+" "+c.Name)
	}
	return out
}

func TestApplyAndExport(t *testing.T) {
	c := client(t, &Server{Rack: newRegistry(t)})
	ctx := t.Context()
	created := []string{"create role web", "create role ntp", "create pool web", "create pool ntp"}
	same := []string{"unchanged role web", "unchanged role ntp", "unchanged pool web", "unchanged pool ntp"}
	for _, step := range []struct {
		o    roles.ApplyOptions
		want []string
	}{
		{roles.ApplyOptions{DryRun: true}, created},
		{roles.ApplyOptions{}, created},
		{roles.ApplyOptions{}, same},
	} {
		got, err := c.Apply(ctx, []byte(rackYAML), "rack.yaml", step.o)
		if err != nil || !slices.Equal(actions(got), step.want) {
			t.Errorf("%+v: %v, %v", step.o, actions(got), err)
		}
	}

	text, err := c.Export(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Apply(ctx, text, "export", roles.ApplyOptions{Prune: true})
	if err != nil || slices.ContainsFunc(got, func(c roles.Change) bool { return c.Action != "unchanged" }) {
		t.Errorf("export applied again: %v, %v\n%s", actions(got), err, text)
	}

	got, err = c.Apply(ctx, nil, "empty", roles.ApplyOptions{Prune: true})
	if err != nil || len(got) != 4 {
		t.Errorf("nothing, with prune: %v, %v", actions(got), err)
	}
}

// TestApplyReportsEveryFault: those that the reader finds, and those that the rack does, with their lines.
func TestApplyReportsEveryFault(t *testing.T) {
	c := client(t, &Server{Rack: declared(t)})
	for _, tt := range []struct {
		yaml string
		want []string
	}{
		{"pools:\n- {name: web, rol: web, addresses: 10.77.0.20-10.77.0.39}\nnods: []\n", []string{"rack.yaml:2:", "rol", "rack.yaml:3:", "nods"}},
		{"pools:\n- {name: a, role: web, addresses: 10.77.0.20-10.77.0.29}\n- {name: b, role: nix, addresses: 10.77.0.60-10.77.0.69}\n", []string{"overlaps", "rack.yaml:3:", "nix"}},
		{"pools: {", []string{"rack.yaml"}},
	} {
		_, err := c.Apply(t.Context(), []byte(tt.yaml), "rack.yaml", roles.ApplyOptions{})
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want fs.ErrInvalid", tt.yaml, err)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s\nfault %q is missing in\n%v", tt.yaml, w, err)
			}
		}
	}
}

// TestApplyFaultsOfTheRack: what only the rack can see has its line as well, and is one fault a line.
func TestApplyFaultsOfTheRack(t *testing.T) {
	rack := declared(t)
	if _, err := rack.Assign(t.Context(), macA.String(), "web", "web-02"); err != nil {
		t.Fatal(err)
	}
	c := client(t, &Server{Rack: rack})
	_, err := c.Apply(t.Context(), []byte(`pools:
- name: web
  role: wbe
  size: {max: 1}
  addresses: 10.77.0.20-10.77.0.39
- {name: dns, role: web, addresses: 10.77.0.48-10.77.0.52}
nodes:
- {mac: 52-54-00-aa-00-02, power: {driver: ipmi}}
- mac: 52:54:00:aa:00:03
  pool: web
  slot: web-02
- {mac: 52:54:00:aa:00:04, pool: wbe}
`), "rack.yaml", roles.ApplyOptions{})
	const want = `rack.yaml:3: pool web: role: role "wbe" is neither declared nor in the library
rack.yaml:5: pool web: addresses: would take 10.77.0.21 from web-02, which 52:54:00:aa:00:01 occupies: release it first
rack.yaml:6: pool dns: addresses: 10.77.0.48-10.77.0.52 overlaps with 10.77.0.40-10.77.0.49 of pool ntp
rack.yaml:8: node 52:54:00:aa:00:02: power: driver "ipmi" is not configured
rack.yaml:10: node 52:54:00:aa:00:03: pool: slot web-02 is occupied by 52:54:00:aa:00:01; to give it to 52:54:00:aa:00:03: muster node replace web-02 52:54:00:aa:00:03
rack.yaml:12: node 52:54:00:aa:00:04: pool: pool "wbe" does not exist (there are: dns, ntp, web)`
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
