package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
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
	doc := keys.Check(b, new(Config))
	if len(doc.Faults) > 0 {
		return nil, join(file, misfits(doc))
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
	if faults := c.faults(doc.Line); len(faults) > 0 {
		return nil, join(file, faults)
	}
	return c, nil
}

// hooks turn text into the types of Config: addresses, prefixes, ranges, levels and durations.
var hooks = mapstructure.ComposeDecodeHookFunc(
	mapstructure.StringToTimeDurationHookFunc(),
	mapstructure.TextUnmarshallerHookFunc(),
)

// complete fills in what a subnet leaves out.
func (c *Config) complete() {
	for i := range c.DHCPD.Subnets {
		if s := &c.DHCPD.Subnets[i]; s.Lease == 0 {
			s.Lease = DefaultLease
		}
	}
	for i := range c.DHCPD.Subnets6 {
		if s := &c.DHCPD.Subnets6[i]; s.Lease == 0 {
			s.Lease = DefaultLease
		}
	}
}
