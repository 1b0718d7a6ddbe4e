package roles

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// What comes out of the store is what came out of the declaration, type by type.
func TestVars(t *testing.T) {
	const text = `{int: 25, big: 10000000, float: 0.5, whole: 2.0, exp: 1e7, huge: 1e300, hex: 0x10, minus: -3, yes: true, no: false, none: ~, word: on,
  date: 2026-11-22, phone: 0049, mode: 0640, quoted: "7", list: [1, a, [~]], map: {a: {80: b, true: c}}, empty: {}, nothing: [], uint: 18446744073709551615}`
	want := Vars{"int": 25, "big": 10000000, "float": 0.5, "whole": 2, "exp": 10000000, "huge": 1e300, "hex": 16, "minus": -3, "yes": true, "no": false, "none": nil, "word": "on",
		"date": "2026-11-22", "phone": "0049", "mode": "0640", "quoted": "7", "list": []any{1, "a", []any{nil}}, "map": map[string]any{"a": map[string]any{"80": "b", "true": "c"}},
		"empty": map[string]any{}, "nothing": []any{}, "uint": 18446744073709551615.0}
	var got Vars
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("YAML: -want +got:\n%s", d)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var stored Vars
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, stored); d != "" {
		t.Errorf("JSON: -want +got:\n%s", d)
	}
	out, err := yaml.Marshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	var again Vars
	if err := yaml.Unmarshal(out, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, again); d != "" {
		t.Errorf("YAML again: -want +got:\n%s\n%s", d, out)
	}
	w := slotWork{}
	w.data.Vars = stored
	w.role.Files = []File{{Path: "/x", Content: "{{.Vars.big}} {{.Vars.mode}} {{.Vars.float}} {{.Vars.nothing}} {{if gt .Vars.int 24}}more{{end}}"}}
	if f, err := w.files(); err != nil || string(f.Files[0].Content) != "10000000 0640 0.5 [] more" {
		t.Errorf("%v, %v", f, err)
	}
}

func TestVarsBounds(t *testing.T) {
	for _, text := range []string{
		"a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d]\n",
		"a: &a [*a]\n",
		"a: [" + strings.Repeat("x,", varsMax) + "]\n",
	} {
		var v Vars
		err := yaml.Unmarshal([]byte(text), &v)
		if err == nil || !strings.Contains(err.Error(), "more than 10000 variables") && !strings.Contains(err.Error(), "contains itself") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	var v Vars
	if err := yaml.Unmarshal([]byte("[a]"), &v); err == nil {
		t.Error("a list is taken")
	}
}
