package config

import (
	"reflect"
	"strings"
	"testing"

	"muster/roles/declare"
)

// A key of muster.yaml that stands in rack.yaml is told where it belongs; TestFaults has the other way.
func TestKeysInRackFile(t *testing.T) {
	for f := range reflect.TypeFor[Config]().Fields() {
		key := f.Tag.Get("mapstructure")
		_, err := declare.Parse([]byte(key+": {}\n"), "rack.yaml")
		if err == nil || !strings.Contains(err.Error(), key+" belongs to muster.yaml") {
			t.Errorf("%s in rack.yaml: %v", key, err)
		}
	}
}
