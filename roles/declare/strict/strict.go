// Package strict compares a YAML document with the Go type that it is to be decoded into, before anything
// decodes it. It reports everything that does not fit at once, each with its line and key: a key that the
// type does not have, with the one that was probably meant; a key that is given twice; a value of the wrong
// kind. Decoders stop at the first such fault, or tell no line, or take a typing error for a default.
//
// It deliberately knows no values: what a number or a name may be, its callers check. It decodes nothing
// itself, and it takes no merge keys (<<): a file for people says what it means where it means it.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that does not fit.
type Fault struct {
	// Line is where; 0 for the document as a whole.
	Line int
	// Key is the full key: pools[0].size.max. Empty for the document as a whole.
	Key string
	// Msg says what is wrong and what is wanted.
	Msg string
}

// Checker compares. The zero value is not useful: Tag is required.
type Checker struct {
	// Tag is the struct tag that names a field's key, before the first comma: yaml, mapstructure. A field
	// without it has no key.
	Tag string
	// Unknown words the fault of a key that a section ("" for the document) does not have, where there is
	// more to say than that; it returns "" where there is not. Nil means never.
	Unknown func(section, key string) string
}

// Document is what a Checker found.
type Document struct {
	// Root is the document's node; nil when there is nothing in it.
	Root *yaml.Node
	// Faults are in the order of the document.
	Faults []Fault

	checker Checker
	lines   map[string]int
}

// Check reads a document and compares it with the type of into, a pointer. A text that is no YAML, or more
// than one document, is one fault.
func (c Checker) Check(text []byte, into any) *Document {
	d := &Document{checker: c, lines: map[string]int{}}
	root, err := parse(text)
	if err != nil {
		d.Faults = []Fault{syntax(err)}
		return d
	}
	d.Root = root
	d.walk(root, reflect.TypeOf(into), "")
	return d
}

// Line is the line of key, or of the nearest section around it that is in the document; 0 when there is
// none.
func (d *Document) Line(key string) int {
	for key != "" {
		if l, ok := d.lines[key]; ok {
			return l
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// parse returns the root node of text, nil when there is nothing in it.
func parse(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document after a line with ---; put everything into one")
	}
	return doc.Content[0], nil
}

// syntax takes the line out of an error of the YAML parser ("yaml: line 3: …").
func syntax(err error) Fault {
	f := Fault{Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
	if _, e := fmt.Sscanf(f.Msg, "line %d:", &f.Line); e == nil {
		_, f.Msg, _ = strings.Cut(f.Msg, ": ")
	}
	f.Msg = "not YAML: " + f.Msg
	return f
}

func (d *Document) fault(n *yaml.Node, key, format string, args ...any) {
	d.Faults = append(d.Faults, Fault{n.Line, key, fmt.Sprintf(format, args...)})
}

func (d *Document) walk(n *yaml.Node, t reflect.Type, key string) {
	if n == nil {
		return
	}
	line := n.Line
	if t.Kind() == reflect.Interface {
		d.free(n, key)
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if key != "" {
		d.lines[key] = line
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "key:" with nothing after it: the default
	}
	switch {
	case t.Kind() == reflect.Pointer:
		d.walk(n, t.Elem(), key)
	case isText(t):
		d.scalar(n, t, key)
	case t.Kind() == reflect.Struct:
		d.section(n, t, key)
	case t.Kind() == reflect.Slice:
		d.list(n, t, key)
	case t.Kind() == reflect.Map:
		d.mapping(n, t, key)
	default:
		d.scalar(n, t, key)
	}
}

// section is a mapping whose keys are known.
func (d *Document) section(n *yaml.Node, t reflect.Type, key string) {
	fields, names := d.checker.fields(t)
	if n.Kind != yaml.MappingNode {
		d.fault(n, key, "want the keys %s, not %s", strings.Join(names, ", "), describe(n))
		return
	}
	d.entries(n, key, func(name, value *yaml.Node, full string) {
		if t, ok := fields[name.Value]; ok {
			d.walk(value, t, full)
			d.lines[full] = name.Line
		} else {
			d.fault(name, full, "%s", d.checker.unknown(key, name.Value, names))
		}
	})
}

// mapping is one whose keys are free.
func (d *Document) mapping(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, key, "want keys and values, such as {key: value}, not %s", describe(n))
		return
	}
	d.entries(n, key, func(name, value *yaml.Node, full string) {
		if name.Kind != yaml.ScalarNode {
			d.fault(name, key, "%s cannot be a key", describe(name))
			return
		}
		d.walk(value, t.Elem(), full)
	})
}

// free is a value of any form. Only its keys are looked at, and what an alias stands for where it is: it may
// stand for itself.
func (d *Document) free(n *yaml.Node, key string) {
	d.lines[key] = n.Line
	switch n.Kind {
	case yaml.SequenceNode:
		for i, e := range n.Content {
			d.free(e, key+"["+strconv.Itoa(i)+"]")
		}
	case yaml.MappingNode:
		d.entries(n, key, func(name, value *yaml.Node, full string) {
			if name.Kind != yaml.ScalarNode || name.Value == "<<" {
				d.fault(name, key, "%s cannot be a key", describe(name))
				return
			}
			d.free(value, full)
		})
	}
}

// entries gives the entries of a mapping; a key that is given again is a fault.
func (d *Document) entries(n *yaml.Node, key string, each func(name, value *yaml.Node, full string)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		full := strings.TrimPrefix(key+"."+name.Value, ".")
		if line := first[name.Value]; line > 0 {
			d.fault(name, full, "given twice; first on line %d", line)
			continue
		}
		each(name, n.Content[i+1], full)
		first[name.Value] = name.Line
	}
}

func (d *Document) list(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.SequenceNode {
		example := "[a, b]"
		if n.Kind == yaml.ScalarNode {
			example = "[" + n.Value + "]"
		}
		d.fault(n, key, "want a list, such as %s, not %s", example, describe(n))
		return
	}
	for i, e := range n.Content {
		d.walk(e, t.Elem(), key+"["+strconv.Itoa(i)+"]")
	}
}

// fields gives the types of t's fields by their keys, and the keys in their order.
func (c Checker) fields(t reflect.Type) (types map[string]reflect.Type, names []string) {
	types = map[string]reflect.Type{}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get(c.Tag), ","); name != "" && name != "-" {
			types[name] = f.Type
			names = append(names, name)
		}
	}
	return types, names
}

// unknown words the fault of a key that section does not have.
func (c Checker) unknown(section, key string, names []string) string {
	if c.Unknown != nil {
		if text := c.Unknown(section, key); text != "" {
			return text
		}
	}
	if near := Nearest(key, names); near != "" {
		return fmt.Sprintf("unknown key; did you mean %q?", near)
	}
	return "unknown key; there are " + strings.Join(names, ", ")
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
