package library

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"strings"
	"testing"
	"text/template"

	"muster/roles"
	"muster/roles/declare"
)

// readRole reads a role as the boot server does, with the content of its files.
func readRole(t *testing.T, name string) roles.Role {
	t.Helper()
	b, err := fs.ReadFile(FS, name+"/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := declare.ParseRole(b, name+"/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range r.Files {
		b, err := fs.ReadFile(FS, path.Join(name, "files", f.Path))
		if err != nil {
			t.Fatal(err)
		}
		r.Files[i].Content = string(b)
	}
	return r
}

// example is what the templates of slot number n of a pool of two see.
func example(r roles.Role, n int, vars map[string]any) roles.FileData {
	var members, peers []roles.Member
	for i := 1; i <= 2; i++ {
		m := roles.Member{Name: fmt.Sprintf("%s-%02d", r.Name, i), Number: i, Address: netip.AddrFrom4([4]byte{10, 77, 0, byte(20 + i)})}
		m.FQDN = m.Name + ".rack.example"
		members = append(members, m)
		if i != n {
			peers = append(peers, m)
		}
	}
	all := map[string]any{}
	maps.Copy(all, r.Vars)
	maps.Copy(all, vars)
	me, pool := members[n-1], roles.PoolData{Name: r.Name, Role: r.Name, Members: members}
	if r.Name == "storage" {
		pool.Pair = &roles.PairSpec{Address: netip.MustParseAddr("10.77.0.9")}
	}
	return roles.FileData{
		Name: me.Name, Number: n, FQDN: me.FQDN, Address: me.Address, Network: netip.MustParsePrefix("10.77.0.0/24"),
		Router: netip.MustParseAddr("10.77.0.1"), DNS: []netip.Addr{netip.MustParseAddr("10.77.0.1")}, Domain: "rack.example",
		Server: netip.MustParseAddr("10.77.0.1"), Role: r.Name, Image: r.Name + ":7", Pool: pool,
		Pools: map[string]roles.PoolData{pool.Name: pool}, Peers: peers, Vars: all,
	}
}

// render fills in one file of a role. It must not need more of the language than package roles offers.
func render(f roles.File, data roles.FileData, secrets map[string]string) (string, error) {
	t, err := template.New(f.Path).Option("missingkey=error").Funcs(template.FuncMap{
		"secret": func(name string) (string, error) {
			s, ok := secrets[name]
			if !ok {
				return "", fmt.Errorf("the role has no secret %q", name)
			}
			return s, nil
		},
		"quote": func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"join": func(sep string, list []any) string {
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(list...), " ", sep), sep)
		},
		"lower": func(v any) string { return strings.ToLower(fmt.Sprint(v)) },
	}).Parse(f.Content)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.String(), err
}

// TestEveryFileRenders: with the role's own vars, and no secret that the role does not declare.
func TestEveryFileRenders(t *testing.T) {
	entries, err := fs.ReadDir(FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		r := readRole(t, e.Name())
		secrets := map[string]string{}
		for _, s := range r.Secrets {
			secrets[s.Name] = "the secret " + s.Name
		}
		source := ""
		for _, f := range r.Files {
			text, err := render(f, example(r, 1, nil), secrets)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
			source += f.Content
			if strings.Contains(text, "the secret ") && f.Mode&0o007 != 0 {
				t.Errorf("%s: %s holds a secret, and everybody may read it: %04o", r.Name, f.Path, f.Mode)
			}
		}
		for _, s := range r.Secrets {
			if !strings.Contains(source, fmt.Sprintf("secret %q", s.Name)) {
				t.Errorf("%s: no file uses the secret %s", r.Name, s.Name)
			}
		}
	}
}

func TestPeersOfChrony(t *testing.T) {
	r := readRole(t, "ntp")
	text, err := render(r.Files[0], example(r, 2, map[string]any{"servers": []any{"192.0.2.1", "ntp.example"}, "networks": []any{"10.78.0.0/16"}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nserver 192.0.2.1 iburst\nserver ntp.example iburst\npeer 10.77.0.21 key 1 ", "\nallow 10.77.0.0/24\nallow 10.78.0.0/16\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("chrony.conf lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "10.77.0.22") {
		t.Errorf("ntp-02 is its own peer:\n%s", text)
	}
}
