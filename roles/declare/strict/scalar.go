package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText reports whether t is written as one word, whatever it is made of.
func isText(t reflect.Type) bool {
	return t == durationType || reflect.PointerTo(t).Implements(textType)
}

// isDuration reports whether t is a time.Duration, by that or another name.
func isDuration(t reflect.Type) bool {
	return t == durationType || isText(t) && t.Kind() == reflect.Int64 && t.Name() == durationType.Name()
}

// scalar checks that a text can become the type.
func (d *Document) scalar(n *yaml.Node, t reflect.Type, key string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, key, "want one value, not %s", describe(n))
		return
	}
	if text := misfit(n, t); text != "" {
		d.fault(n, key, "%s", text)
	}
}

// misfit says why n cannot become a t; "" when it can.
func misfit(n *yaml.Node, t reflect.Type) string {
	if isDuration(t) {
		if _, err := time.ParseDuration(n.Value); err != nil {
			return fmt.Sprintf("%q is not a duration (want the form 1h, 90m, 45s)", n.Value)
		}
		return ""
	}
	value := reflect.New(t).Interface()
	if u, ok := value.(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			return reason(t, n.Value, err)
		}
		return ""
	}
	if t.Kind() == reflect.Uint16 {
		if _, err := strconv.ParseUint(n.Value, 10, 16); err != nil {
			return fmt.Sprintf("%q is not a port (0 to 65535)", n.Value)
		}
		return ""
	}
	// The decoder would make 1 of 1.5.
	if n.Decode(value) != nil || reflect.New(t).Elem().CanInt() && n.ShortTag() != "!!int" {
		return fmt.Sprintf("%q is not %s", n.Value, kind(t))
	}
	return ""
}

// reason puts the errors of other packages into words that a reader of the file expects.
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

func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	}
	return "a " + t.String()
}
