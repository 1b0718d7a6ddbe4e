package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// toYAML writes v with the names and the order that it has in JSON.
func toYAML(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	n, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err = e.Encode(n)
	return out.Bytes(), err
}

// yamlNode reads one JSON value. (YAML is not quite a superset of JSON: its reader refuses control characters
// that JSON has as they are.)
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{}
	switch t := t.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		// The names of an object come as values: a mapping's content is both in turn.
		for d.More() {
			c, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err = d.Token()
	case json.Number:
		n.Kind, n.Value = yaml.ScalarNode, t.String()
	case string:
		if strings.ContainsFunc(t, unicode.IsControl) {
			// In its literal style the encoder writes "\t\n" so that nobody can read it.
			n.Kind, n.Tag, n.Value, n.Style = yaml.ScalarNode, "!!str", t, yaml.DoubleQuotedStyle
			break
		}
		// The encoder of Go values quotes what YAML 1.1 reads as something else: the state "off" as a
		// boolean, a MAC of digits as a number to the base of 60.
		err = n.Encode(t)
	case bool, nil:
		err = n.Encode(t)
	default:
		err = fmt.Errorf("unknown JSON token %v", t)
	}
	return n, err
}
