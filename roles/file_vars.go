package roles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// Vars are values for templates: text, int, float64, bool, nil, and lists ([]any) and maps (map[string]any) of
// them. They are the same whether they come from YAML or from the store. A number with a leading zero is text:
// it is a mode or a telephone number, and would be another number.
type Vars map[string]any

// UnmarshalJSON implements json.Unmarshaler: a whole number stays one.
func (v *Vars) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return err
	}
	plain, err := plainValue(m)
	*v, _ = plain.(map[string]any)
	return err
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (v *Vars) UnmarshalYAML(n *yaml.Node) error {
	budget := varsMax
	value, err := yamlValue(n, &budget)
	if err != nil {
		return err
	}
	m, ok := value.(map[string]any)
	if !ok && value != nil {
		return errors.New("want keys and values")
	}
	*v = m
	return nil
}

// varsMax bounds the values of one role or pool: aliases of aliases could be more than fit into memory.
const varsMax = 10_000

// yamlValue is what n stands for. Keys are text, whatever they look like.
func yamlValue(n *yaml.Node, budget *int) (any, error) {
	if *budget--; *budget < 0 {
		return nil, fmt.Errorf("line %d: more than %d variables", n.Line, varsMax)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return yamlValue(n.Alias, budget)
	case yaml.SequenceNode:
		list := []any{}
		for _, e := range n.Content {
			v, err := yamlValue(e, budget)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := yamlValue(n.Content[i+1], budget)
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	}
	return yamlScalar(n)
}

func yamlScalar(n *yaml.Node) (any, error) {
	var v any
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
	case "!!int", "!!float":
		digits := bytes.TrimLeft([]byte(n.Value), "+-")
		if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
			return n.Value, nil
		}
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
	default:
		return n.Value, nil
	}
	if plain, err := plainValue(v); err == nil {
		return plain, nil
	}
	return v, nil // .nan and .inf, which validation refuses where it knows their key
}

// plainValue gives a number the one form that it has among Vars, wherever it comes from.
func plainValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int:
		return v, nil
	case int64:
		return int(v), nil
	case uint64:
		return wholeFloat(float64(v))
	case float64:
		return wholeFloat(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i), nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, err
		}
		return wholeFloat(f)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = plainValue(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if out[k], err = plainValue(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %T cannot be a variable", v)
}

// wholeFloat makes an int of a number without a fraction, as JSON does not tell them apart.
func wholeFloat(f float64) (any, error) {
	const exact = 1 << 53
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		return nil, errors.New("a number must be finite")
	case f == math.Trunc(f) && math.Abs(f) <= exact:
		return int(f), nil
	}
	return f, nil
}
