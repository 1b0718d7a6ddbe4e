package roles_test

import (
	"net/netip"
	"strings"
	"testing"

	"muster/roles"
)

// one is a role with one file, used by pool web.
func one(content string) string {
	return "roles:\n- name: web\n  vars: {a: 1}\n  secrets: [{name: p}]\n  files:\n  - path: /etc/x\n    content: |\n      " +
		strings.ReplaceAll(content, "\n", "\n      ") + "\n"
}

func TestApplyTriesFiles(t *testing.T) {
	r := newRack(t)
	for _, tt := range []struct{ content, want string }{
		{"{{.Vars.b}}", `role web: files[0].content: file /etc/x: line 1: <.Vars.b>: map has no entry for key "b" (for web-01)`},
		{"\n{{.Pools.dns.Name}}", `role web: files[0].content: file /etc/x: line 2: <.Pools.dns.Name>: map has no entry for key "dns" (for web-01)`},
		{`{{if eq .Number 50}}{{.Vars.b}}{{end}}`, `role web: files[0].content: file /etc/x: line 1: <.Vars.b>: map has no entry for key "b" (for web-50)`},
		{`{{secret "q"}}`, `role web: files[0].content: file /etc/x: line 1: role web declares no secret "q" (it declares: p)`},
		{`{{if false}}{{"q" | secret | quote}}{{end}}`, `role web: files[0].content: file /etc/x: line 1: role web declares no secret "q" (it declares: p)`},
		{`{{secret (print "q" "r")}}`, `role web: files[0].content: file /etc/x: line 1: secret: role web declares no secret "qr" (it declares: p) (for web-01)`},
		{`{{public "p"}}`, `role web: files[0].content: file /etc/x: line 1: public: secret "p" has no public half (only ssh and tls have) (for web-01)`},
		{"{{range 1000000000000}}{{end}}", `role web: files[0].content: file /etc/x: does too much: does a loop in it end? (for web-01)`},
	} {
		r.refuse(one(tt.content), roles.ApplyOptions{}, tt.want)
		r.refuse(one(tt.content), roles.ApplyOptions{DryRun: true}, tt.want)
	}
	// What needs a network is tried with one that may be.
	r.declare(one("{{.Network}} {{.Router}} {{.FQDN}} {{.DNS}} {{.Server}} {{.Vars.a}} {{secret \"p\"}}"))
	if s, err := r.Secrets(); err != nil || len(s) != 0 {
		t.Errorf("trying made %v, %v", s, err)
	}
	// One that there is is asked.
	r.Network = func(netip.Addr) (roles.Network, bool) {
		return roles.Network{Prefix: netip.MustParsePrefix("10.77.0.0/24")}, true
	}
	r.refuse(one("{{.Router}}"), roles.ApplyOptions{}, `role web: files[0].content: file /etc/x: a value is missing: line 1 of the result has "invalid IP" (for web-01)`)
}

// What is declared together is looked at together, and all of it.
func TestApplyTriesWhatItTouches(t *testing.T) {
	r := newRack(t)
	r.Library = map[string]roles.Role{"dns": {Name: "dns", Files: []roles.File{{Path: "/etc/zone", Content: "{{.Vars.zone}} {{.Pools.web.Role}}"}}},
		"odd": {Name: "odd", Files: []roles.File{{Path: "/etc/a", Content: "{{.Naem}}"}}}}
	const pool = "pools: [{name: dns, role: dns, addresses: 10.77.0.90-10.77.0.91%s}]\n"
	dns := func(more string) string { return strings.Replace(pool, "%s", more, 1) }
	r.refuse(dns(""), roles.ApplyOptions{}, `pool dns: role: file /etc/zone of role dns: line 1: <.Vars.zone>: map has no entry for key "zone" (for dns-01)`)
	r.refuse(strings.Replace(dns(""), "role: dns", "role: odd", 1), roles.ApplyOptions{},
		`pool dns: role: file /etc/a of role odd: line 1: .Naem: a file's data has no such field (it has Name, Number, FQDN, Address, Network, Router, DNS, Domain, Server, Role, Image, Pool, Pools, Peers, Vars)`)
	r.declare(dns(", vars: {zone: example.org}"))
	r.refuse(dns(", vars: {zones: example.org}"), roles.ApplyOptions{}, `pool dns: role: file /etc/zone of role dns: line 1: <.Vars.zone>: map has no entry for key "zone" (for dns-01)`)
	// With its pool, a file of another one loses what it is made of.
	r.refuse(dns(", vars: {zone: example.org}"), roles.ApplyOptions{Prune: true},
		`pool dns: file /etc/zone of role dns would work no longer: line 1: <.Pools.web.Role>: map has no entry for key "web" (for dns-01)`)
	// What did not work before is no reason to refuse something else.
	r.Library["dns"] = roles.Role{Name: "dns", Files: []roles.File{{Path: "/etc/zone", Content: "{{.Vars.other}}"}}}
	r.declare("pools: [{name: ntp, role: ntp, size: {max: 1}, addresses: 10.77.0.80}]")
	r.refuse("roles: [{name: dns, description: x}]", roles.ApplyOptions{}, `role dns: files: file /etc/zone: line 1: <.Vars.other>: map has no entry for key "other" (for dns-01)`)
	// A role that no pool has is looked at as far as that goes.
	r.refuse("roles: [{name: new, files: [{path: /etc/a, content: '{{.Vars.x}}{{secret \"s\"}}'}]}]", roles.ApplyOptions{},
		`role new: files[0].content: file /etc/a: line 1: role new declares no secret "s" (it declares: none)`)
	r.declare("roles: [{name: new, files: [{path: /etc/a, content: '{{.Vars.x}}'}]}]")
}

func TestApplyLooksAtTheWholeRole(t *testing.T) {
	r := newRack(t)
	r.Library = map[string]roles.Role{"web": {Name: "web", State: []string{"/var/lib/web"}, Files: []roles.File{{Path: "/etc/a/b", Content: "x"}},
		Secrets: []roles.SecretSpec{{Name: "tls", Kind: roles.SecretTLS}}}}
	r.refuse("roles: [{name: web, files: [{path: /etc/a, content: x}]}]", roles.ApplyOptions{},
		`role web: files[0].content: file /etc/a: cannot be a file: /etc/a/b is below it`)
	r.refuse("roles: [{name: web, state: [/etc/a/b]}]", roles.ApplyOptions{},
		`role web: files: file /etc/a/b: cannot be a file: something is mounted there`)
	r.declare("roles: [{name: web, state: [/etc/a]}]")
	// The names of a certificate are templates too.
	r.refuse("roles: [{name: web, secrets: [{name: tls, kind: tls, names: ['{{.Vars.site}}']}]}]", roles.ApplyOptions{},
		`role web: secrets[0].names: secret tls: name "{{.Vars.site}}": line 1: <.Vars.site>: map has no entry for key "site" (for web-01)`)
	r.refuse("roles: [{name: web, secrets: [{name: tls, kind: tls, names: ['{{.Name}}_x']}]}]", roles.ApplyOptions{},
		`role web: secrets[0].names: secret tls: "web-01_x" is not a DNS name (for web-01)`)
	// An operator's certificate does not become a password.
	if _, err := r.SetSecret(t.Context(), "slot/web-07/tls", certificate(t, "web-07")); err != nil {
		t.Fatal(err)
	}
	r.refuse("roles: [{name: web, secrets: [{name: tls}]}]", roles.ApplyOptions{},
		`role web: secrets: tls is declared as password, and an operator has set slot/web-07/tls as tls: rotate that first, or use another name`)
}
