package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	configType   = reflect.TypeFor[Config]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// declared are the keys of rack.yaml, which people look for here first.
var declared = []string{"roles", "pools", "nodes", "volumes"}

// keys goes through a document beside the type that it should have, and collects the line of every key and
// everything that does not fit.
type keys struct {
	lines  map[string]int
	faults []*Fault
}

func (k *keys) fault(n *yaml.Node, key, format string, args ...any) {
	k.faults = append(k.faults, &Fault{Line: n.Line, Key: key, Msg: fmt.Sprintf(format, args...)})
}

// line is that of key, or of the nearest section around it that is in the file; 0 when there is none.
func (k *keys) line(key string) int {
	for key != "" {
		if l, ok := k.lines[key]; ok {
			return l
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

func (k *keys) walk(n *yaml.Node, t reflect.Type, key string) {
	if n == nil {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if key != "" {
		k.lines[key] = n.Line
	}
	if n.Tag == "!!null" {
		return // "key:" with nothing after it: the default
	}
	switch {
	case t.Kind() == reflect.Pointer:
		k.walk(n, t.Elem(), key)
	case t == durationType || reflect.PointerTo(t).Implements(textType):
		k.scalar(n, t, key)
	case t.Kind() == reflect.Struct:
		k.mapping(n, t, key)
	case t.Kind() == reflect.Slice:
		k.list(n, t, key)
	default:
		k.scalar(n, t, key)
	}
}

func (k *keys) mapping(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.MappingNode {
		k.fault(n, key, "want the keys %s, not %s", strings.Join(known(t), ", "), describe(n))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		full := strings.TrimPrefix(key+"."+name.Value, ".")
		f, ok := field(t, name.Value)
		switch {
		case !ok:
			k.fault(name, full, "%s", unknown(t, key, name.Value))
		case first[name.Value] > 0:
			k.fault(name, full, "given twice; first on line %d", first[name.Value])
		default:
			first[name.Value] = name.Line
			k.walk(n.Content[i+1], f.Type, full)
			k.lines[full] = name.Line
		}
	}
}

func (k *keys) list(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.SequenceNode {
		example := "[a, b]"
		if n.Kind == yaml.ScalarNode {
			example = "[" + n.Value + "]"
		}
		k.fault(n, key, "want a list, such as %s, not %s", example, describe(n))
		return
	}
	for i, e := range n.Content {
		k.walk(e, t.Elem(), key+"["+strconv.Itoa(i)+"]")
	}
}

// scalar checks that a text can become the type, which viper does later without telling the line.
func (k *keys) scalar(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.ScalarNode {
		k.fault(n, key, "want one value, not %s", describe(n))
		return
	}
	if t == durationType {
		if _, err := time.ParseDuration(n.Value); err != nil {
			k.fault(n, key, "%q is not a duration (want the form 1h, 90m, 45s)", n.Value)
		}
		return
	}
	if t.Kind() == reflect.Uint16 {
		if _, err := strconv.ParseUint(n.Value, 10, 16); err != nil {
			k.fault(n, key, "%q is not a port (0 to 65535)", n.Value)
		}
		return
	}
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			k.fault(n, key, "%s", reason(t, n.Value, err))
		}
	}
}

// reason puts the errors of other packages into words that a reader of a config file expects.
func reason(t reflect.Type, value string, err error) string {
	switch t.String() {
	case "netip.Addr":
		return fmt.Sprintf("%q is not an address (want the form 10.77.0.1)", value)
	case "netip.Prefix":
		return fmt.Sprintf("%q is not a network (want the form 10.77.0.0/24)", value)
	case "slog.Level":
		return fmt.Sprintf("%q is not a level (want debug, info, warn or error)", value)
	}
	return err.Error()
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}

// field finds the field of struct t that key sets.
func field(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("mapstructure") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// known lists the keys of struct t.
func known(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		out = append(out, f.Tag.Get("mapstructure"))
	}
	return out
}

// unknown words the fault of a key that section (a struct t) does not have.
func unknown(t reflect.Type, section, key string) string {
	if section == "" && slices.Contains(declared, key) {
		return "not configuration: declare " + key + " in rack.yaml and run: muster apply -f rack.yaml"
	}
	if near := nearest(key, known(t)); near != "" {
		return fmt.Sprintf("unknown key; did you mean %q?", near)
	}
	return "unknown key; there are " + strings.Join(known(t), ", ")
}
