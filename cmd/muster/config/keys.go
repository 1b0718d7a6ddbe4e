package config

import (
	"slices"

	"muster/roles/declare/strict"
)

// declared are the keys of rack.yaml, which people look for here first.
var declared = []string{"roles", "pools", "nodes", "volumes"}

// keys finds everything in a document that is not of Config, which viper does later without telling the line.
var keys = strict.Checker{Tag: "mapstructure", Unknown: func(section, key string) string {
	if section == "" && slices.Contains(declared, key) {
		return "not configuration: declare " + key + " in rack.yaml and run: muster apply -f rack.yaml"
	}
	return ""
}}

// misfits gives what a document's check found as faults of a configuration.
func misfits(d *strict.Document) []*Fault {
	out := make([]*Fault, len(d.Faults))
	for i, f := range d.Faults {
		out[i] = &Fault{Line: f.Line, Key: f.Key, Msg: f.Msg}
	}
	return out
}
