package serve

import (
	"testing"

	"muster/images"
	"muster/roles"
)

func TestVolumeAt(t *testing.T) {
	for _, c := range []struct {
		options  string
		coherent bool
		want     string
	}{
		{"", false, ""},
		{"timeo=30", false, "timeo=30"},
		{"", true, "actimeo=0,lookupcache=none"},
		{"timeo=30", true, "timeo=30,actimeo=0,lookupcache=none"},
	} {
		got := volumeAt(images.Mount{Options: c.options}, network{}, roles.VolumeMount{Name: "mail", Mount: "/srv/mail", ReadOnly: true, Coherent: c.coherent})
		if got.Options != c.want || got.Target != "/srv/mail" || !got.ReadOnly {
			t.Errorf("options %q, coherent %v: %+v, want the options %q", c.options, c.coherent, got, c.want)
		}
	}
}
