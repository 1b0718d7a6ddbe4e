package images

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestRecipeFaultsAreAllTold(t *testing.T) {
	_, err := Recipe{
		Kernel: "tiny", Suite: "book worm", Mirror: "mirror", Packages: []string{"ok", "-o=evil", "a b", "x;y"},
		Services: []string{"../etc", "ok.service", "-f"}, Overlay: "/no/such/directory",
	}.complete("Web!")
	if !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("complete = %v, want ErrInvalid", err)
	}
	for _, part := range []string{"tiny", "book worm", `"mirror"`, "-o=evil", "a b", "x;y", "../etc", `"-f"`, "/no/such/directory", "Web!"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not tell %s:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), `"ok`) {
		t.Errorf("the error tells what is right:\n%v", err)
	}
}

func TestRecipeDefaults(t *testing.T) {
	r, err := Recipe{Packages: []string{"nginx-light", "dbus"}}.complete("web")
	if err != nil || r.Kernel != KernelFull || r.Suite != "bookworm" {
		t.Fatalf("complete = %+v, %v", r, err)
	}
	got := r.packages(nil)
	if !slices.Contains(got, "linux-image-amd64") || !slices.Contains(got, "nginx-light") {
		t.Errorf("packages = %v", got)
	}
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("packages are listed twice: %v", got)
	}
	r.Kernel = KernelCloud
	if got := r.packages(nil); !slices.Contains(got, "linux-image-cloud-amd64") || slices.Contains(got, "linux-image-amd64") {
		t.Errorf("cloud: packages = %v", got)
	}
}
