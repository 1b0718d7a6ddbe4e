package declare

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"muster/roles"
	"muster/roles/declare/strict"
)

// document is a file that was read, kept for its lines.
type document struct {
	*strict.Document
	file string
	role bool // it is one role, not a list of them
}

// misfits puts what does not fit into the form of a compiler's messages: rack.yaml:7: pools[0].rol: …
func (d *document) misfits() error {
	var out roles.Faults
	for _, f := range d.Faults {
		text := f.Msg
		if f.Key != "" {
			text = f.Key + ": " + text
		}
		out = append(out, fmt.Errorf("%s: %s", d.at(f.Line), text))
	}
	return out
}

// explain gives the domain's faults their lines, and their order.
func (d *document) explain(faults []error) error {
	type placed struct {
		line int
		err  error
	}
	all := make([]placed, len(faults))
	for i, err := range faults {
		all[i].err = fmt.Errorf("%s: %w", d.file, err)
		if f, ok := err.(*roles.Fault); ok {
			line := d.line(f)
			all[i] = placed{line, fmt.Errorf("%s: %w", d.at(line), err)}
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return a.line - b.line })
	var out roles.Faults
	for _, p := range all {
		out = append(out, p.err)
	}
	return out
}

// at is where a line is; of the file as a whole when it is 0.
func (d *document) at(line int) string {
	if line == 0 {
		return d.file
	}
	return fmt.Sprintf("%s:%d", d.file, line)
}

// line finds where a fault is: its field, or else its entry; 0 when it is not in this file.
func (d *document) line(f *roles.Fault) int {
	if d.role {
		return d.Line(f.Field)
	}
	i := f.Entry - 1
	if i < 0 {
		i = d.find(f.List, f.Name)
	}
	if i < 0 {
		return 0
	}
	key := fmt.Sprintf("%s[%d]", f.List, i)
	if f.Field != "" {
		key += "." + f.Field
	}
	return d.Line(key)
}

// find gives the place of the entry with this name in a list; -1 when it has none.
func (d *document) find(list, name string) int {
	id := "name"
	if list == "nodes" {
		id = "mac"
	}
	entries := value(d.Root, list)
	if entries == nil {
		return -1
	}
	return slices.IndexFunc(entries.Content, func(entry *yaml.Node) bool {
		v := value(entry, id)
		if v == nil {
			return false
		}
		mac, err := roles.ParseMAC(v.Value)
		return v.Value == name || id == "mac" && err == nil && strings.EqualFold(mac.String(), name)
	})
}

// value gives the value of a mapping's key, nil when there is none.
func value(n *yaml.Node, key string) *yaml.Node {
	if n = followed(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return followed(n.Content[i+1])
		}
	}
	return nil
}

// followed is what an alias stands for.
func followed(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
