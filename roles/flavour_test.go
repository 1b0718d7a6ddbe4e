package roles_test

import (
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
)

// flavours is a catalog of images with the kernels that it names.
type flavours map[string]string

func (f flavours) Find(ref images.Ref) (images.Image, error) {
	ref.Version = max(ref.Version, 1)
	return images.Image{Ref: ref, Kernel: kernel, Flavour: f[ref.Name]}, nil
}

// A machine that waits gets a kernel with every driver, whichever pool comes first, since nothing is known of
// its network card. One with a slot gets what its role says.
func TestWaitingMachineLoadsFullKernel(t *testing.T) {
	stranger := roles.Facts{Arch: "i386", Firmware: "bios"}
	for _, tt := range []struct {
		catalog     flavours
		wait, works string
	}{
		{flavours{"ntp": images.KernelCloud, "web": images.KernelFull}, "web:1", "web:1"},
		{flavours{"ntp": images.KernelFull, "web": images.KernelCloud}, "ntp:1", "web:1"},
		{flavours{"ntp": images.KernelCloud, "web": images.KernelCloud}, "ntp:1", "web:1"},
	} {
		r := newRack(t)
		r.Images = tt.catalog
		ticket, err := r.Script(t.Context(), mac(1), stranger)
		if err != nil || ticket.Node.Slot != "" || ticket.Image.Ref.String() != tt.wait {
			t.Errorf("%v: a stranger in %q loads %s (%v), want %s", tt.catalog, ticket.Node.Slot, ticket.Image.Ref, err, tt.wait)
		}
		ticket, err = r.Script(t.Context(), mac(2), facts)
		if err != nil || ticket.Node.Slot != "web-01" || ticket.Image.Ref.String() != tt.works {
			t.Errorf("%v: a web server in %q loads %s (%v), want %s", tt.catalog, ticket.Node.Slot, ticket.Image.Ref, err, tt.works)
		}
	}
}

// A boot that goes silent after its initrd was loaded says what that may mean.
func TestSilentKernel(t *testing.T) {
	for flavour, want := range map[string]string{
		images.KernelCloud: "the kernel of web:1 is the small one (cloud)",
		images.KernelFull:  "the kernel of web:1 was loaded, and its agent did not speak",
	} {
		r := newRack(t)
		r.Images = flavours{"web": flavour, "ntp": flavour}
		if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
			t.Fatal(err)
		}
		sight := roles.Sighting{MAC: mac(1), Time: r.now, Step: roles.StepInitrd, Message: "web/1/initrd.img by HTTP"}
		if err := r.Observe(t.Context(), []roles.Sighting{sight}); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Hour)
		r.check(1, nil)
		if n := r.wantNode("web-01", "web-01", roles.StateFailed); !strings.Contains(n.Why, want) {
			t.Errorf("%s: %q, want %q", flavour, n.Why, want)
		}
	}
}
