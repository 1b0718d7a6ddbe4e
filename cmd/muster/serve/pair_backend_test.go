package serve

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/httpboot/agent/pair"
	"muster/images"
	"muster/roles"
)

// TestPairMounts: what is mounted from a pair, and when it is said to be there.
func TestPairMounts(t *testing.T) {
	img := published(t, "web", 7, nil)
	web := user(t, "web", "10.77.0.20-10.77.0.21", roles.Role{Name: "web", State: []string{"/var/log"}}, img)
	c := &contents{revision: func() uint64 { return 1 }, packs: &packer{}, log: slog.New(slog.DiscardHandler),
		users: func(string) ([]pairUser, error) { return []pairUser{web}, nil }}
	server := &pairServer{contents: c}
	b := pairBackend{web.pool, server, c, c.packs}
	n := images.Need{Root: &img, Slot: "web-01", Address: netip.MustParseAddr("10.77.0.20"), Dirs: []images.Dir{{Path: "state/web-01/var-log"}}}
	offered := func() string {
		t.Helper()
		why, err := b.Offer(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return why
	}
	report := func(r pair.Report) {
		t.Helper()
		if err := server.Call(t.Context(), time.Second, pair.OpReport, r, new(pair.Orders)); err != nil {
			t.Fatal(err)
		}
	}
	if why := offered(); why == "" {
		t.Error("it is offered though no half has spoken")
	}
	has := []string{"web:7"}
	report(pair.Report{Active: true, Images: has})
	if why := offered(); !strings.Contains(why, "storage-01 makes room for web-01") {
		t.Errorf("before its directories are made: %q", why)
	}
	now, err := c.of("storage")
	if err != nil {
		t.Fatal(err)
	}
	report(pair.Report{Active: true, Images: has, Revision: "of long ago"})
	if offered() == "" {
		t.Error("nobody knows what that revision had")
	}
	report(pair.Report{Active: true, Images: has, Revision: now.Revision})
	if why := offered(); why != "" {
		t.Errorf("with all of it: %q", why)
	}
	// It works on something new: what is there, is.
	report(pair.Report{Active: true, Images: has})
	if why := offered(); why != "" {
		t.Errorf("while it is at work: %q", why)
	}
	report(pair.Report{Active: true})
	if offered() == "" {
		t.Error("without the image")
	}
	n.Root = nil
	if why := offered(); why != "" {
		t.Errorf("a node with its root in RAM: %q", why)
	}

	want := images.Mount{Server: netip.MustParseAddr("10.77.0.9"), Path: "/images/web/7", Version: "4.1", Options: "timeo=30,retrans=2,actimeo=3600,nocto"}
	compare := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if got, err := b.Root(img.Ref); err != nil || !cmp.Equal(want, got, compare) {
		t.Errorf("Root = %+v, %v", got, err)
	}
	want.Path, want.Version, want.Options = "/state/web-01/var-log", "4.2", "timeo=30,retrans=2"
	if got, err := b.Directory("state/web-01/var-log"); err != nil || !cmp.Equal(want, got, compare) {
		t.Errorf("Directory = %+v, %v", got, err)
	}
}
