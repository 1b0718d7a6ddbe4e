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
	"slices"

	"go.yaml.in/yaml/v3"

	"muster/roles"
	"muster/roles/declare/strict"
)

// Parse reads a declaration; file is its name in messages. The error is a roles.Faults.
func Parse(text []byte, file string) (roles.Declaration, error) {
	var d roles.Declaration
	doc, err := decode(rackKeys, text, file, &d)
	if err != nil {
		return roles.Declaration{}, err
	}
	if faults := d.Validate(); len(faults) > 0 {
		return roles.Declaration{}, doc.explain(faults)
	}
	return d, nil
}

// ParseRole reads one role file of the library. The error is a roles.Faults.
func ParseRole(text []byte, file string) (roles.Role, error) {
	var r roles.Role
	doc, err := decode(roleKeys, text, file, &r)
	if err != nil {
		return roles.Role{}, err
	}
	doc.role = true
	if faults := (roles.Declaration{Roles: []roles.Role{r}}).Validate(); len(faults) > 0 {
		return roles.Role{}, doc.explain(faults)
	}
	return r, nil
}

// Explain adds the lines of the declaration in text to the faults that the rack found in it. Errors that
// are no roles.Faults are returned as they are.
func Explain(err error, text []byte, file string) error {
	var faults roles.Faults
	if !errors.As(err, &faults) {
		return err
	}
	doc := &document{Document: rackKeys.Check(text, new(roles.Declaration)), file: file}
	return doc.explain(faults)
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

// configured are the keys of muster.yaml.
var configured = []string{"data", "library", "dhcpd", "tftpd", "httpboot", "images", "api", "state", "log", "power"}

var (
	rackKeys = strict.Checker{Tag: "yaml", Unknown: func(section, key string) string {
		if section == "" && slices.Contains(configured, key) {
			return "not part of a rack: " + key + " belongs to muster.yaml, the configuration of the boot server"
		}
		return ""
	}}
	roleKeys = strict.Checker{Tag: "yaml"}
)

func decode(keys strict.Checker, text []byte, file string, into any) (*document, error) {
	doc := &document{Document: keys.Check(text, into), file: file}
	if len(doc.Faults) > 0 {
		return nil, doc.misfits()
	}
	if doc.Root == nil {
		return doc, nil // an empty file declares nothing
	}
	if err := doc.Root.Decode(into); err != nil {
		return nil, roles.Faults{fmt.Errorf("%s: %w", file, err)}
	}
	return doc, nil
}
