package roles

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields gives v's YAML fields, each as one line.
func fields(v any) map[string]string {
	out := map[string]string{}
	var doc yaml.Node
	if err := doc.Encode(v); err != nil {
		return out
	}
	for key, value := range entries(&doc) {
		switch key {
		case "vars":
			for name, v := range entries(value) {
				out[key+"."+name] = line(v)
			}
		case "files", "secrets":
			for _, item := range value.Content {
				out[key+"["+id(item)+"]"] = line(item)
			}
		default:
			out[key] = line(value)
		}
	}
	return out
}

// entries gives those of a mapping.
func entries(n *yaml.Node) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = n.Content[i+1]
	}
	return out
}

// id is what an entry of a list is known by: its path or name.
func id(n *yaml.Node) string {
	for _, key := range []string{"path", "name"} {
		if v := entries(n)[key]; v != nil {
			return v.Value
		}
	}
	return ""
}

func line(n *yaml.Node) string {
	flow(n)
	text, _ := yaml.Marshal(n)
	return strings.TrimRight(string(text), "\n")
}

// flow puts a value into one line. A long text becomes its first words and a digest, by which any other differs.
func flow(n *yaml.Node) {
	const long = 100
	n.Style |= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && (len(n.Value) > long || strings.Contains(n.Value, "\n")) {
		first, _, _ := strings.Cut(n.Value, "\n")
		n.Style = yaml.DoubleQuotedStyle
		n.Value = fmt.Sprintf("%s… (%d lines, sha256 %.12x)", clipped(first, long/2), 1+strings.Count(strings.TrimSuffix(n.Value, "\n"), "\n"), sha256.Sum256([]byte(n.Value)))
	}
	for _, c := range n.Content {
		flow(c)
	}
}

// clipped is the beginning of s, in whole letters.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
