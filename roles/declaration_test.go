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
		Health: &Health{HTTP: &HTTPCheck{Port: 80}, Failures: 2},
		Recipe: images.Recipe{Packages: []string{"nginx"}, Services: []string{"nginx.service"}, Kernel: "full", Suite: "bookworm", Mirror: "http://a", Overlay: "/a"},
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
		Health: &Health{TCP: &TCPCheck{Port: 443}},
		Recipe: images.Recipe{Packages: []string{"apache2"}, Services: []string{"apache2.service"}, Kernel: "cloud", Suite: "trixie", Mirror: "http://b", Overlay: "/b"},
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
