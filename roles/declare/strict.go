package declare

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fault is one thing that is wrong in a file.
type fault struct {
	line int
	text string
}

// strict compares a YAML tree with the Go type that it is to be decoded into, and reports every key that
// the type does not have and every value that does not fit, which yaml's own decoder does only up to the
// first of some kinds. where is the path so far, for messages.
func strict(n *yaml.Node, into any, where string) []fault {
	return check(n, reflect.TypeOf(into).Elem(), where)
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

func check(n *yaml.Node, t reflect.Type, where string) []fault {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if t.Kind() == reflect.Pointer {
		return check(n, t.Elem(), where)
	}
	if reflect.PointerTo(t).Implements(textType) {
		return checkScalar(n, t, where)
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkStruct(n, t, where)
	case reflect.Slice:
		return checkList(n, t, where)
	case reflect.Map:
		return checkMap(n, t, where)
	}
	return checkScalar(n, t, where)
}

func checkStruct(n *yaml.Node, t reflect.Type, where string) (out []fault) {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return []fault{{n.Line, fmt.Sprintf("%s wants keys and values", or(where, "the file"))}}
	}
	types := map[string]reflect.Type{}
	var known []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		types[name] = f.Type
		known = append(known, name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		ft, ok := types[key.Value]
		switch {
		case !ok:
			out = append(out, fault{key.Line, unknownKey(key.Value, where, known)})
		case seen[key.Value]:
			out = append(out, fault{key.Line, fmt.Sprintf("key %q stands twice", key.Value)})
		default:
			out = append(out, check(val, ft, join(where, key.Value))...)
		}
		seen[key.Value] = true
	}
	return out
}

func checkList(n *yaml.Node, t reflect.Type, where string) (out []fault) {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return []fault{{n.Line, fmt.Sprintf("%s wants a list", where)}}
	}
	for i, c := range n.Content {
		out = append(out, check(c, t.Elem(), fmt.Sprintf("%s[%d]", where, i))...)
	}
	return out
}

func checkMap(n *yaml.Node, t reflect.Type, where string) (out []fault) {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return []fault{{n.Line, fmt.Sprintf("%s wants keys and values", where)}}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, check(n.Content[i+1], t.Elem(), join(where, n.Content[i].Value))...)
	}
	return out
}

func checkScalar(n *yaml.Node, t reflect.Type, where string) []fault {
	if n.Kind != yaml.ScalarNode {
		return []fault{{n.Line, fmt.Sprintf("%s wants one value", where)}}
	}
	if err := n.Decode(reflect.New(t).Interface()); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if _, ok := err.(*yaml.TypeError); ok {
			text = fmt.Sprintf("%q is not %s", n.Value, kindName(t))
		}
		return []fault{{n.Line, fmt.Sprintf("%s: %s", where, text)}}
	}
	return nil
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "a " + t.Kind().String()
}

func unknownKey(key, where string, known []string) string {
	text := fmt.Sprintf("key %q is not known", key)
	if where != "" {
		text += " in " + where
	}
	slices.Sort(known)
	best, bestDistance := "", 3 // two typing errors
	for _, k := range known {
		if d := distance(strings.ToLower(key), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return text + fmt.Sprintf("; did you mean %q?", best)
	}
	return text + " (there are: " + strings.Join(known, ", ") + ")"
}

// distance is the number of single-letter edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
