package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// delimiter separates the parts of a key inside viper. No key contains it, whereas the default, a dot, is in
// addresses and host names.
const delimiter = "::"

// Load reads the file at path. The error joins a *Fault for everything that is wrong with it; it wraps
// fs.ErrNotExist where there is no file.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config: %w: write it with: muster setup --interface NAME", err)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return parse(path, b)
}

// Parse reads the text of a muster.yaml. The error joins a *Fault for everything that is wrong with it.
func Parse(b []byte) (*Config, error) { return parse("", b) }

func parse(file string, b []byte) (*Config, error) {
	doc, err := document(b)
	if err != nil {
		return nil, join(file, []*Fault{syntax(err)})
	}
	k := keys{lines: map[string]int{}}
	k.walk(doc, configType, "")
	if len(k.faults) > 0 {
		return nil, join(file, k.faults)
	}
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(b)); err != nil {
		return nil, join(file, []*Fault{{Msg: err.Error()}})
	}
	c := Default()
	if err := v.UnmarshalExact(c, viper.DecodeHook(hooks)); err != nil {
		return nil, join(file, []*Fault{{Msg: err.Error()}})
	}
	c.complete()
	if faults := c.faults(k.line); len(faults) > 0 {
		return nil, join(file, faults)
	}
	return c, nil
}

// hooks turn text into the types of Config: addresses, prefixes, ranges, levels and durations.
var hooks = mapstructure.ComposeDecodeHookFunc(
	mapstructure.StringToTimeDurationHookFunc(),
	mapstructure.TextUnmarshallerHookFunc(),
)

// document returns the root node of b, nil when there is nothing in it.
func document(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
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
func syntax(err error) *Fault {
	f := &Fault{Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
	if _, e := fmt.Sscanf(f.Msg, "line %d:", &f.Line); e == nil {
		_, f.Msg, _ = strings.Cut(f.Msg, ": ")
	}
	f.Msg = "not YAML: " + f.Msg
	return f
}

// complete fills in what a subnet leaves out.
func (c *Config) complete() {
	for i := range c.DHCPD.Subnets {
		if s := &c.DHCPD.Subnets[i]; s.Lease == 0 {
			s.Lease = DefaultLease
		}
	}
}
