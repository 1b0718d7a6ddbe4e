// Package declare reads and writes rack.yaml: the roles, pools and nodes of a rack as an operator
// declares them, and the role files of the library.
//
// Reading is strict. Every fault is reported at once, each with its line: a key that nobody knows (with
// the one that was probably meant), a value of the wrong kind, and what the domain finds wrong.
package declare

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"

	"muster/roles"
)

// Parse reads a declaration; file is its name in messages. The error joins every fault and wraps
// fs.ErrInvalid.
func Parse(data []byte, file string) (roles.Declaration, error) {
	var d roles.Declaration
	doc, err := decode(data, file, &d)
	if err != nil {
		return roles.Declaration{}, err
	}
	if faults := d.Validate(); len(faults) > 0 {
		return roles.Declaration{}, doc.invalid(faults)
	}
	return d, nil
}

// ParseRole reads one role file of the library.
func ParseRole(data []byte, file string) (roles.Role, error) {
	var r roles.Role
	if _, err := decode(data, file, &r); err != nil {
		return roles.Role{}, err
	}
	if faults := (roles.Declaration{Roles: []roles.Role{r}}).Validate(); len(faults) > 0 {
		return roles.Role{}, fmt.Errorf("%s: %w: %w", file, fs.ErrInvalid, errors.Join(faults...))
	}
	return r, nil
}

// Explain adds the lines of the declaration in data to the faults that the rack found in it. Other errors
// are returned as they are.
func Explain(err error, data []byte, file string) error {
	var doc document
	var faults []error
	for _, e := range flatten(err) {
		var f *roles.Fault
		if errors.As(e, &f) {
			faults = append(faults, f)
		}
	}
	if len(faults) == 0 || yaml.Unmarshal(data, &doc.root) != nil {
		return err
	}
	doc.file = file
	return doc.invalid(faults)
}

func flatten(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var out []error
		for _, x := range e.Unwrap() {
			out = append(out, flatten(x)...)
		}
		return out
	case nil:
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil {
		return flatten(inner)
	}
	return []error{err}
}

// Encode writes a declaration so that Parse reads the same.
func Encode(d roles.Declaration) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("declare: %w", err)
	}
	return b.Bytes(), enc.Close()
}

// document is a parsed file, kept for its lines.
type document struct {
	file string
	root yaml.Node
}

func decode(data []byte, file string, into any) (*document, error) {
	doc := &document{file: file}
	if err := yaml.Unmarshal(data, &doc.root); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", file, strings.TrimPrefix(err.Error(), "yaml: "), fs.ErrInvalid)
	}
	if doc.root.Kind == 0 {
		return doc, nil // an empty file declares nothing
	}
	top := doc.root.Content[0]
	if faults := strict(top, into, ""); len(faults) > 0 {
		errs := make([]error, len(faults))
		for i, f := range faults {
			errs[i] = fmt.Errorf("%s:%d: %s", file, f.line, f.text)
		}
		return nil, fmt.Errorf("%w: %w", fs.ErrInvalid, errors.Join(errs...))
	}
	if err := top.Decode(into); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, fs.ErrInvalid, err)
	}
	return doc, nil
}

// invalid gives the domain's faults their lines.
func (d *document) invalid(faults []error) error {
	errs := make([]error, len(faults))
	for i, err := range faults {
		errs[i] = fmt.Errorf("%s: %w", d.file, err)
		var f *roles.Fault
		if errors.As(err, &f) {
			if line := d.line(f); line > 0 {
				errs[i] = fmt.Errorf("%s:%d: %w", d.file, line, err)
			}
		}
	}
	return fmt.Errorf("%w: %w", fs.ErrInvalid, errors.Join(errs...))
}

// line finds where a fault is: its field, or else its entry; 0 when it is not in this file.
func (d *document) line(f *roles.Fault) int {
	if d.root.Kind == 0 {
		return 0
	}
	list := value(d.root.Content[0], f.List)
	if list == nil {
		return 0
	}
	found := 0
	for _, entry := range list.Content {
		id := value(entry, "name")
		if f.List == "nodes" {
			id = value(entry, "mac")
		}
		if id == nil && f.Name != "" || id != nil && !strings.EqualFold(id.Value, f.Name) {
			continue
		}
		// The last of two with one name is the one that is too many.
		found = entry.Line
		if v := value(entry, f.Field); v != nil {
			found = v.Line
		}
	}
	return found
}

func value(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content) && m.Kind == yaml.MappingNode; i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}
