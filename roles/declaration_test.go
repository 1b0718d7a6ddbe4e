package roles

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/images"
)

// full has every field of a role set to something.
func full() Role {
	return Role{
		Name: "web", Description: "nginx", Image: "nginx", Root: RootNFS, Cmdline: "quiet",
		Volumes: []VolumeMount{{Name: "www", Mount: "/srv/www"}}, State: []string{"/var/log/nginx"},
		Vars: Vars{"port": 80}, Files: []File{{Path: "/etc/motd", Mode: 0o600, Content: "a"}}, Secrets: []SecretSpec{{Name: "key", Kind: SecretKey}},
		Health: &Health{HTTP: &HTTPCheck{Port: 80}, Failures: 2},
		Recipe: images.Recipe{Packages: []string{"nginx"}, Services: []string{"nginx.service"}, Kernel: "full", Suite: "bookworm", Mirror: "http://a", Overlay: "/a",
			From: "dir:/a", Sources: []string{"deb http://a a main"}, Keys: []string{"/a"}, Hooks: []string{"a"}, Epoch: 1},
	}
}

// TestOver sets one field at a time over a role that has all: that one changes, and no other. Fields that
// are added to Role later are tested as well.
func TestOver(t *testing.T) {
	if d := cmp.Diff(full(), Role{}.Over(full())); d != "" {
		t.Errorf("nothing over everything: %s", d)
	}
	if d := cmp.Diff(full(), full().Over(Role{})); d != "" {
		t.Errorf("everything over nothing: %s", d)
	}
	other := Role{
		Name: "www", Description: "apache", Image: "apache", Root: RootRAM, Cmdline: "debug",
		Volumes: []VolumeMount{{Name: "data", Mount: "/srv/data", ReadOnly: true}}, State: []string{"/var/lib/x", "/var/lib/y"},
		// Of these, one replaces the other that has the same name; see TestOverOneByOne.
		Vars: Vars{"port": 443}, Files: []File{{Path: "/etc/motd", Content: "b", Owner: "root:mail"}}, Secrets: []SecretSpec{{Name: "key", Kind: SecretTLS}},
		Health: &Health{TCP: &TCPCheck{Port: 443}},
		Recipe: images.Recipe{Packages: []string{"apache2"}, Services: []string{"apache2.service"}, Kernel: "cloud", Suite: "trixie", Mirror: "http://b", Overlay: "/b",
			From: "dir:/b", Sources: []string{"deb http://b b main"}, Keys: []string{"/b"}, Hooks: []string{"b"}, Epoch: 2},
	}
	fields := 0
	var each func(path string, over, want, from reflect.Value, test func(name string))
	each = func(path string, over, want, from reflect.Value, test func(name string)) {
		for i := range from.NumField() {
			name := path + from.Type().Field(i).Name
			if from.Field(i).IsZero() {
				t.Errorf("the test does not set %s", name)
			}
			if from.Field(i).Kind() == reflect.Struct {
				each(name+".", over.Field(i), want.Field(i), from.Field(i), test)
				continue
			}
			before := reflect.ValueOf(want.Field(i).Interface())
			over.Field(i).Set(from.Field(i))
			want.Field(i).Set(from.Field(i))
			test(name)
			over.Field(i).SetZero()
			want.Field(i).Set(before)
			fields++
		}
	}
	var over Role
	want := full()
	each("", reflect.ValueOf(&over).Elem(), reflect.ValueOf(&want).Elem(), reflect.ValueOf(other), func(name string) {
		if d := cmp.Diff(want, over.Over(full())); d != "" {
			t.Errorf("%s over everything: -want +got:\n%s", name, d)
		}
	})
	if fields < 14 {
		t.Errorf("only %d fields were tested", fields)
	}
}

// TestOverOneByOne: files, secrets and variables of a declared role come to those of the library.
func TestOverOneByOne(t *testing.T) {
	base := Role{
		Vars:    Vars{"a": 1, "b": map[string]any{"x": 1}},
		Files:   []File{{Path: "/etc/a", Mode: 0o600, Content: "1"}, {Path: "/etc/b", Content: "1"}},
		Secrets: []SecretSpec{{Name: "a", Length: 40}, {Name: "b"}},
	}
	before := Role{}.Over(base)
	got := Role{
		Vars:    Vars{"b": map[string]any{"y": 2}, "c": 3},
		Files:   []File{{Path: "/etc/c", Content: "2"}, {Path: "/etc/a", Content: "2"}},
		Secrets: []SecretSpec{{Name: "c"}, {Name: "a", Kind: SecretSSH}},
	}.Over(base)
	want := Role{
		Vars:    Vars{"a": 1, "b": map[string]any{"y": 2}, "c": 3},
		Files:   []File{{Path: "/etc/a", Content: "2"}, {Path: "/etc/b", Content: "1"}, {Path: "/etc/c", Content: "2"}},
		Secrets: []SecretSpec{{Name: "a", Kind: SecretSSH}, {Name: "b"}, {Name: "c"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff(before, base); d != "" {
		t.Errorf("the library was changed: %s", d)
	}
}
