package library

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"muster/images"
	"muster/roles"
)

func TestEveryRoleIsWhole(t *testing.T) {
	entries, err := fs.ReadDir(FS, ".")
	if err != nil || len(entries) < 2 {
		t.Fatalf("ReadDir = %v, %v", entries, err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(FS, e.Name()+"/role.yaml")
		if err != nil {
			t.Error(err)
			continue
		}
		var r roles.Role
		d := yaml.NewDecoder(bytes.NewReader(b))
		d.KnownFields(true)
		if err := d.Decode(&r); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		if r.Name != e.Name() || r.Description == "" || r.Health == nil || len(r.Recipe.Packages) == 0 || !images.ValidName(r.ImageName()) {
			t.Errorf("%s: something is missing in %+v", e.Name(), r)
		}
		for _, dir := range r.State {
			if !strings.HasPrefix(dir, "/") {
				t.Errorf("%s: state %q is not absolute", e.Name(), dir)
			}
		}
		overlay, err := Overlay(e.Name())
		if err != nil {
			t.Error(err)
			continue
		}
		checkServices(t, r, overlay)
	}
}

// checkServices makes sure that a unit of the overlay's own is enabled: one that is not does nothing.
func checkServices(t *testing.T, r roles.Role, overlay fs.FS) {
	t.Helper()
	units, err := fs.Glob(overlay, "etc/systemd/system/*.service")
	if err != nil {
		t.Fatal(err)
	}
	enabled := strings.Join(r.Recipe.Services, " ")
	for _, u := range units {
		name := u[strings.LastIndexByte(u, '/')+1:]
		if !strings.Contains(" "+enabled+" ", " "+name+" ") {
			t.Errorf("%s: %s is in the overlay and not in services", r.Name, name)
		}
	}
}

func TestOverlayOfNoRole(t *testing.T) {
	for _, name := range []string{"none", "", "..", "web/overlay"} {
		if _, err := Overlay(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Overlay(%q) = %v, want ErrNotExist", name, err)
		}
	}
}
