package strict

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kinds has one field of every kind that is told apart.
type kinds struct {
	Text   string            `key:"text"`
	Yes    bool              `key:"yes,omitempty"`
	Count  int               `key:"count"`
	Ratio  float64           `key:"ratio"`
	Port   uint16            `key:"port"`
	Wait   time.Duration     `key:"wait"`
	Pause  named             `key:"pause"`
	Addr   netip.Addr        `key:"addr"`
	Net    *netip.Prefix     `key:"net"`
	Level  slog.Level        `key:"level"`
	List   []string          `key:"list"`
	Labels map[string]string `key:"labels"`
	Sub    *sub              `key:"sub"`
	Subs   []*sub            `key:"subs"`
	Hidden string
	Left   string `key:"-"`
}

type sub struct {
	A int `key:"a"`
}

// named is not a duration, for all that it is a number with a text.
type named int64

func (*named) UnmarshalText(b []byte) error { return fmt.Errorf("no %s is good", b) }

var checker = Checker{Tag: "key", Unknown: func(section, key string) string {
	if section == "sub" && key == "b" {
		return "b is elsewhere"
	}
	return ""
}}

// Each row is a document and its faults.
func TestCheck(t *testing.T) {
	const all = "text, yes, count, ratio, port, wait, pause, addr, net, level, list, labels, sub, subs"
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"# nothing\n", ""},
		{"~", ""},
		{"text: x\nyes: true\ncount: 7\nratio: 1.5\nport: 80\nwait: 1h\naddr: 10.0.0.1\nnet: 10.0.0.0/8\nlevel: warn\nlist: [a]\nlabels: {x: 1, y: ~}\nsub: {a: 1}\nsubs: [{a: 2}, ~, {}]\n", ""},
		{"text:\nyes:\ncount:\nlist:\nlabels:\nsub:\nnet: ~\n", ""},
		{"text: [x]", "1 text: want one value, not a list"},
		{"text: {x: y}", "1 text: want one value, not a mapping"},
		{"text: 5", ""},
		{"yes: maybe", `1 yes: "maybe" is not true or false`},
		{"count: 1.5", `1 count: "1.5" is not a whole number`},
		{"count: x", `1 count: "x" is not a whole number`},
		{"ratio: x", `1 ratio: "x" is not a number`},
		{"port: 65536", `1 port: "65536" is not a port (0 to 65535)`},
		{"wait: 5", `1 wait: "5" is not a duration (want the form 1h, 90m, 45s)`},
		{"pause: 5s", `1 pause: no 5s is good`},
		{"addr: host", `1 addr: "host" is not an address (want the form 10.77.0.1)`},
		{"net: 10.0.0.1", `1 net: "10.0.0.1" is not a network (want the form 10.77.0.0/24)`},
		{"level: loud", `1 level: "loud" is not a level (want debug, info, warn or error)`},
		{"list: a", `1 list: want a list, such as [a], not "a"`},
		{"list: {a: b}", `1 list: want a list, such as [a, b], not a mapping`},
		{"list: [a, [b]]", `1 list[1]: want one value, not a list`},
		{"labels: a", `1 labels: want keys and values, such as {key: value}, not "a"`},
		{"labels: {a: [b]}", `1 labels.a: want one value, not a list`},
		{"labels:\n  a: b\n  a: c\n", `3 labels.a: given twice; first on line 2`},
		{"sub: 1", `1 sub: want the keys a, not "1"`},
		{"sub: {b: 1, c: 2}", "1 sub.b: b is elsewhere\n1 sub.c: unknown key; there are a"},
		{"subs:\n- {a: 1}\n- {a: x, A: 2}\n", "3 subs[1].a: \"x\" is not a whole number\n3 subs[1].A: unknown key; did you mean \"a\"?"},
		{"txt: x\nTEXT: y\n", "1 txt: unknown key; did you mean \"text\"?\n2 TEXT: unknown key; did you mean \"text\"?"},
		{"Hidden: x\nLeft: y\n-: z\n", "1 Hidden: unknown key; there are " + all + "\n2 Left: unknown key; there are " + all + "\n3 -: unknown key; there are " + all},
		{"[x]: y", "1 : unknown key; there are " + all},
		{"text: a\ntext: b\ntext: c\n", "2 text: given twice; first on line 1\n3 text: given twice; first on line 1"},
		{"x", `1 : want the keys ` + all + `, not "x"`},
		{"sub: &s {a: x}\nsubs: [*s]\n", "1 sub.a: \"x\" is not a whole number\n1 subs[0].a: \"x\" is not a whole number"},
		{"a: [", "1 : not YAML: did not find expected node content"},
		{"a: b\n---\n", "0 : not YAML: there is a second document after a line with ---; put everything into one"},
		{"text: *x", "0 : not YAML: unknown anchor 'x' referenced"},
	} {
		var got []string
		for _, f := range checker.Check([]byte(tt.text), new(kinds)).Faults {
			got = append(got, fmt.Sprintf("%d %s: %s", f.Line, f.Key, f.Msg))
		}
		if d := cmp.Diff(tt.want, strings.Join(got, "\n")); d != "" {
			t.Errorf("%q: -want +got:\n%s", tt.text, d)
		}
	}
}

func TestLine(t *testing.T) {
	d := checker.Check([]byte("text: x\nsub:\n  a: 1\nsubs:\n- a: 1\n-\n  a: 2\nlabels:\n  x: y\n"), new(kinds))
	for key, want := range map[string]int{
		"text": 1, "sub": 2, "sub.a": 3, "subs": 4, "subs[0]": 5, "subs[1]": 7, "subs[1].a": 7, "labels.x": 9,
		"subs[1].b.c": 7, "subs[7]": 4, "sub.x": 2, "nothing": 0, "nothing.at.all": 0, "": 0,
	} {
		if got := d.Line(key); got != want {
			t.Errorf("%q: line %d, want %d", key, got, want)
		}
	}
}
