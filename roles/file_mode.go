package roles

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FileMode is permission bits that are written in octal: 0640, 640 and 0o640 are the same.
type FileMode uint32

// String is the octal form, with at least four digits.
func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText implements encoding.TextMarshaler.
func (m FileMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// MarshalYAML implements yaml.Marshaler: as a text it would be quoted, since it looks like a number.
func (m FileMode) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: m.String()}, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *FileMode) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0o"), 8, 32)
	if err != nil || v > 0o7777 {
		return fmt.Errorf("%q is not a file mode (want octal: 0640)", b)
	}
	*m = FileMode(v)
	return nil
}
