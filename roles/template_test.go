package roles

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// ring is a keyring with one secret of every kind.
type ring struct{}

func (ring) secret(name string) (Secret, error) {
	for _, s := range []Secret{{Key: "p", Value: []byte("hunter2")}, {Key: "ssh", Value: []byte("private\n"), Public: "public"}} {
		if s.Key == name {
			return s, nil
		}
	}
	return Secret{}, fmt.Errorf("there is no secret %q", name)
}

var sampleData = dataOf([]Pool{samplePool, {Name: "none", Role: "x"}}, samplePool, Role{Name: "web", Vars: Vars{"s": "text", "n": 7, "zero": 0, "list": []any{"a", 1, true},
	"map": map[string]any{"k": "v"}, "null": nil}}, 2, "web:3", func(netip.Addr) (Network, bool) {
	return Network{Prefix: netip.MustParsePrefix("10.77.0.0/24"), Domain: "rack.example"}, true
})

var samplePool = Pool{Name: "web", Role: "web", Size: Size{Max: 3}, Addresses: AddressRange{netip.MustParseAddr("10.77.0.20"), netip.MustParseAddr("10.77.0.29")}}

func tryTemplate(text string) (string, bool, error) {
	t, err := parseTemplate(text, ring{})
	if err != nil {
		return "", false, err
	}
	out, secret, err := t.render(sampleData)
	return string(out), secret, err
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"plain":                       "plain",
		"{{.Name}} {{.Number}}":       "web-02 2",
		"{{.FQDN}} {{.Address}}":      "web-02.rack.example 10.77.0.21",
		"{{len .Peers}}":              "2",
		"{{.Pools.web.Role}}":         "web",
		"{{len .Pools.none.Members}}": "0",
		"{{range .Pool.Members}}{{.Number}}{{end}}":                                 "123",
		"{{range $name, $p := .Pools}}{{$name}}{{len $p.Members}} {{end}}":          "none0 web3 ",
		"{{.Vars.n}} {{.Vars.list}} {{.Vars.map.k}}":                                "7 [a 1 true] v",
		"{{if .Router.IsValid}}x{{end}}":                                            "",
		`{{join ", " .Vars.list}}|{{.Vars.list | join ","}}`:                        "a, 1, true|a,1,true",
		`{{join .Vars.list "+"}}`:                                                   "a+1+true",
		`{{quote "a\n\"b"}} {{quote 7}}`:                                            `"a\n\"b" "7"`,
		`{{lower "ÄB"}}`:                                                            "äb",
		`{{default "d" .Vars.null}}{{default 9 .Vars.zero}}{{.Vars.n | default 1}}`: "d97",
		"{{indent 2 \"a\\n\\nb\"}}":                                                 "  a\n\n  b",
		`{{secret "p"}} {{"p" | secret}}`:                                           "hunter2 hunter2",
		`{{public "ssh"}}`:                                                          "public",
		`{{printf "%05d|%s" 7 "x"}} {{print 1 2}} {{html "<"}}`:                     "00007|x 1 2 &lt;",
		`{{define "a"}}{{.Number}}{{end}}{{range .Peers}}{{template "a" .}}{{end}}`: "13",
		`{{$x := 1}}{{range .Peers}}{{$x = .Number}}{{end}}{{$x}}`:                  "3",
		`{{range 3}}{{.}}{{end}}`:                                                   "012",
		"the text <no value> itself":                                                "the text <no value> itself",
	} {
		got, secret, err := tryTemplate(text)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
		if secret != strings.Contains(got, "hunter2") {
			t.Errorf("%s: secret %v", text, secret)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a\n{{.Vars.x}}", `line 2: <.Vars.x>: map has no entry for key "x"`},
		{"{{.Vars.map.x}}", `line 1: <.Vars.map.x>: map has no entry for key "x"`},
		{"{{.Pools.dns.Role}}", `line 1: <.Pools.dns.Role>: map has no entry for key "dns"`},
		{"{{.Vars.s.x}}", `line 1: <.Vars.s.x>: can't evaluate field x in type interface {}`},
		{"\n\n{{.Naem}}", `line 3: <.Naem>: can't evaluate field Naem in type roles.FileData`},
		{"{{secret \"x\"}}", `line 1: secret: there is no secret "x"`},
		{"{{public \"p\"}}", `line 1: public: secret "p" has no public half (only ssh and tls have)`},
		{"{{upper \"x\"}}", `line 1: function "upper" not defined`},
		{"{{if}}", `line 1: missing value for if`},
		{"{{", `line 1: unclosed action`},
		{"{{end}}", `line 1: unexpected {{end}}`},
		{"{{template \"x\"}}", `line 1: <{{template "x"}}>: template "x" not defined`},
		{"a\n{{.Vars.null}}", `a value is missing: line 2 of the result has "<no value>"`},
		{"{{.Router}}", `a value is missing: line 1 of the result has "invalid IP"`},
		{"{{join 1 2}}", `line 1: join: want a separator and a list, not int and int`},
		{"{{indent 101 \"x\"}}", `line 1: indent: 101 spaces are not between 0 and 100`},
		{"{{call .Name}}", "line 1: call: non-function .Name of type string"},
	} {
		_, _, err := tryTemplate(tt.text)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

// A template with a slip in it ends soon, and takes little memory.
func TestTemplateBounds(t *testing.T) {
	const loop, file, text = "does too much: does a loop in it end?", "makes a file of more than 4 MiB", "makes a text of more than 4 MiB"
	for _, tt := range []struct{ name, text, want string }{
		{"empty turns", "{{range 1000000000000}}{{end}}", loop},
		{"turns that go on", "{{range 1000000000000}}{{continue}}{{end}}", loop},
		{"nested", strings.Repeat("{{range 10000}}", 5) + strings.Repeat("{{end}}", 5), loop},
		{"in else", "{{if false}}{{else}}{{range 1000000000000}}{{end}}{{end}}", loop},
		{"in with", "{{with 1}}{{range 1000000000000}}{{end}}{{end}}", loop},
		{"in a range's else", "{{range 0}}{{else}}{{range 1000000000000}}{{end}}{{end}}", loop},
		{"in a template", `{{define "a"}}{{range 1000000000000}}{{end}}{{end}}{{template "a"}}`, loop},
		{"calls of calls", `{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}`, loop},
		{"output", "{{range 1000000000000}}" + strings.Repeat("0123456789", 10) + "{{end}}", file},
		{"doubling", `{{$x := "0123456789"}}{{range 100}}{{$x = print $x $x}}{{end}}`, text},
		{"doubling by printf", `{{$x := "0123456789"}}{{range 100}}{{$x = printf "%[1]s%[1]s" $x}}{{end}}`, "printf: an argument of more than 64 KiB; print takes longer ones"},
		{"many verbs", `{{printf "` + strings.Repeat("%1000000d", 65) + `" 1}}`, "printf: more than 64 verbs"},
		{"wide verbs", `{{printf "` + strings.Repeat("%1000000[1]d", 5) + `" 1}}`, text},
		{"growing by html", `{{$x := "<"}}{{range 100}}{{$x = html $x $x}}{{end}}`, text},
		{"growing by quote", `{{$x := "\""}}{{range 100}}{{$x = quote $x}}{{end}}`, text},
		{"growing by indent", `{{$x := "a\n"}}{{range 100}}{{$x = print $x $x}}{{$x = indent 100 $x}}{{end}}`, text},
		{"growing by join", `{{$x := "aaaaaaaaaa"}}{{range 100}}{{$x = join $x $.Pool.Members}}{{end}}`, text},
		{"source", strings.Repeat("x", templateMax+1), "is longer than 1024 KiB: put it into the image, or on a volume"},
		{"nesting", "{{" + strings.Repeat("(", 20_000), "line 1: max expression depth exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := tryTemplate(tt.text)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got %.200v, want %s", err, tt.want)
			}
		})
	}
}

// Fields are looked at wherever they are, whether a slot comes there or not.
func TestTemplateFields(t *testing.T) {
	const data = " (it has Name, Number, FQDN, Address, Network, Router, DNS, Domain, Server, Role, Image, Pool, Pools, Peers, Vars)"
	const pool, slot = ": a pool has no such field (it has Name, Role, Members, Pair)", ": a slot has no such field (it has Name, FQDN, Number, Address)"
	for _, tt := range []struct{ text, want string }{
		{"{{if false}}\n{{.Naem}}{{end}}", "line 2: .Naem: a file's data has no such field" + data},
		{"{{if false}}{{else}}{{.Pool.Size}}{{end}}", "line 1: .Size" + pool},
		{"{{range .Peers}}{{.Pool}}{{end}}", "line 1: .Pool" + slot},
		{"{{range .Peers}}{{$.Pool.Name}}{{.Address.Is4}}{{end}}", ""},
		{"{{range $i, $p := .Pool.Members}}{{$i}}{{$p.MAC}}{{end}}", "line 1: .MAC" + slot},
		{"{{range $p := .Pool.Members}}{{$p.Name}}{{.MAC}}{{end}}", "line 1: .MAC" + slot},
		{"{{range $n, $p := .Pools}}{{$n}}{{range $p.Members}}{{.X}}{{end}}{{end}}", "line 1: .X" + slot},
		{"{{with .Pool}}{{.Members}}{{.Vars}}{{else}}{{.Vars}}{{end}}", "line 1: .Vars" + pool},
		{"{{with $p := .Pool}}{{$p.Vars}}{{end}}{{$q := .Pool}}{{$q.Vars}}", "line 1: .Vars" + pool + "\nline 1: .Vars" + pool},
		{"{{(index .Pools \"web\").Nmae}}{{(index .Pool.Members 0).Nmae}}", "line 1: .Nmae" + pool + "\nline 1: .Nmae" + slot},
		{"{{index (index .Pools \"web\").Members 0}}", ""},
		{"{{.Vars.anything.at.all}}{{range .Vars.list}}{{.x.y}}{{end}}", ""},
		{"{{.Name.First}}{{.DNS.First}}", "line 1: .First: a string has no such field\nline 1: .First: a list has no such field"},
		{"{{.Address.IsValid}}{{.Network.Addr.Next}}{{.Network.Bits}}", ""},
		{`{{define "a"}}{{.Role}}{{.Vars}}{{end}}{{if false}}{{template "a" .Pool}}{{template "a" .Pool}}{{end}}{{template "a" .}}`, "line 1: .Vars" + pool},
		{`{{define "a"}}{{.X}}{{template "a" .}}{{end}}`, ""},
		{"{{$x := .Pool}}{{$x = .Name}}{{$x.Y}}", ""},
		{"{{$x := .Pool}}{{if true}}{{$x := .Name}}{{$x.Y}}{{end}}{{$x.Y}}", "line 1: .Y: a string has no such field\nline 1: .Y" + pool},
		{"{{$x := .Pool}}{{range $x = .Peers}}{{$x.Y}}{{end}}{{$x.Y}}", ""},
		{"{{$ = .Pool}}{{$.Y}}", ""},
		{"{{or .Pool .Name}}{{(or .Pool .Name).X}}", ""},
		{"{{len .Peers | printf \"%d\" | quote}}{{.Nmae | quote}}", "line 1: .Nmae: a file's data has no such field" + data},
	} {
		p, err := parseTemplate(tt.text, ring{})
		if err != nil {
			t.Fatal(tt.text, err)
		}
		var got string
		if err := errors.Join(p.faults()...); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
}

// Whatever a template is, it ends, its result is bounded, and what the types promise about fields holds.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "{{.Name}}", "{{range .Peers}}{{.Name}}{{else}}{{end}}", `{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}`,
		`{{with $x := index .Pools "web"}}{{$x.Members}}{{end}}`, `{{range $i, $e := .Vars}}{{$e | quote}}{{break}}{{end}}`, `{{secret "p" | indent 3}}`,
		"{{range 99999999}}{{continue}}{{end}}", `{{printf "%*d" 99999999 1}}`, `{{(.Address.Next).String}}`, "{{block \"b\" .}}{{.Naem}}{{end}}", `{{/* c */ -}} {{- "x" -}}`,
		`{{slice (secret "p") 1 2}}`, "{{$x := .}}{{$x.Pool.Name}}", `{{and .Vars (or 0 (not 1)) | js}}`, `{{default .Peers .DNS | join ","}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseTemplate(text, ring{})
		if err != nil {
			if !errors.As(err, new(*templateError)) {
				t.Errorf("%q: a bad error: %v", text, err)
			}
			return
		}
		faults := p.faults()
		p.asks()
		p.mentions(networkFields)
		out, secret, err := p.render(sampleData)
		if err != nil {
			if !errors.As(err, new(*templateError)) {
				t.Errorf("%q: a bad error: %v", text, err)
			}
			// What is not in a type is found without rendering.
			if strings.Contains(err.Error(), "can't evaluate field") && strings.Contains(err.Error(), "in type roles.") && len(faults) == 0 {
				t.Logf("%q: only rendering finds %v", text, err)
			}
			return
		}
		if len(out) > fileMax {
			t.Errorf("%d bytes", len(out))
		}
		if strings.Contains(string(out), "hunter2") && !secret && !strings.Contains(text, "hunter2") {
			t.Errorf("%q: a secret in a file that is none", text)
		}
	})
}
