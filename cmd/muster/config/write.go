package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

var fileTemplate = template.Must(template.New("muster.yaml").Funcs(template.FuncMap{"short": short}).Parse(
	`# Muster's boot server on {{range $i, $n := .Interfaces}}{{if $i}}, {{end}}{{$n}}{{end}}. Keys that are not here have their defaults.
dhcpd:
  interfaces: [{{range $i, $n := .Interfaces}}{{if $i}}, {{end}}{{$n}}{{end}}]
  subnets:
  # range: for machines that have no slot yet. The addresses of pools (rack.yaml) lie outside of it.
{{- range .Subnets}}
  - {subnet: {{.Subnet}}, range: {{.Range}}
{{- if .Router.IsValid}}, router: {{.Router}}{{end}}
{{- if .DNS}}, dns: [{{range $i, $d := .DNS}}{{if $i}}, {{end}}{{$d}}{{end}}]{{end}}
{{- if .Domain}}, domain: {{.Domain}}{{end}}, lease: {{short .Lease}}}
{{- end}}
`))

// short writes a duration as a person would: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Write puts c's interfaces and subnets into a commented file at path, with its directory where there is
// none; the rest of c is left to the defaults. The file is there whole or not at all. Where there is one
// already it is replaced only with force; otherwise the error wraps fs.ErrExist.
func Write(path string, c *Config, force bool) error {
	var b bytes.Buffer
	if err := fileTemplate.Execute(&b, c.DHCPD); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if _, err := Parse(b.Bytes()); err != nil {
		return fmt.Errorf("config: not written, since it would not be valid: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".muster.yaml.*")
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	defer os.Remove(tmp.Name())
	if err := fill(tmp, b.Bytes()); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return place(tmp.Name(), path, force)
}

func fill(f *os.File, b []byte) error {
	_, err := f.Write(b)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// place gives the file tmp its name. A link, unlike a rename, fails where the name is taken.
func place(tmp, path string, force bool) error {
	if force {
		if err := os.Rename(tmp, path); err != nil {
			return fmt.Errorf("config: %w", err)
		}
		return nil
	}
	err := os.Link(tmp, path)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("config: %s is there already; look at it, and replace it with --force: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}
