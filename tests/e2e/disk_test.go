package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"muster/roles"
	"muster/roles/api"
)

// TestFullDisk fills the disk under a server that serves: what it cannot make durable it does not promise,
// it says so, and with space again everything works, without a restart.
func TestFullDisk(t *testing.T) {
	s := newBare(t, func(data string) { smallDisk(t, data) })
	s.start()
	write(t, filepath.Join(s.dir, "rack.yaml"), rackYAML)
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	s.eventually("NFS answers", s.answersNFS)
	filler := s.fill(filepath.Join(s.dir, "data"))

	// The database has some room in its file. Then the first machine gets an offer, and no ACK.
	acked := map[roles.MAC]netip.Addr{}
	var silent roles.MAC
	for n := 1; ; n++ {
		mac := machineMAC(n)
		a, err := s.lease(mac, longName)
		if errors.Is(err, nclient4.ErrNoResponse) {
			silent = mac
			break
		}
		if err != nil || n == 99 {
			t.Fatalf("after %d leases on a full disk: %v", n, err)
		}
		acked[mac] = a
	}
	t.Logf("%d leases fitted", len(acked))
	if err := s.dhcp(silent, func(c *nclient4.Client) error {
		offer, err := c.DiscoverOffer(t.Context(), longName)
		if err == nil {
			_, err = c.RequestFromOffer(t.Context(), offer, longName)
			err = fmt.Errorf("offered: %w", err)
		}
		return err
	}); !errors.Is(err, nclient4.ErrNoResponse) || !strings.Contains(err.Error(), "offered") {
		t.Errorf("%s: %v, want an offer and no answer to the request", silent, err)
	}
	if s.holds(silent).IsValid() {
		t.Error("a lease that was not made durable is listed")
	}
	for _, want := range []string{"leases could not be made durable", "no space left on device"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if s.metric("muster_dhcpd_commit_errors_total") == 0 {
		t.Error("the failed commits are not counted")
	}

	many := filepath.Join(s.dir, "many.yaml")
	write(t, many, manyNodes(2000))
	before := s.muster("export")
	s.refused(nil, []string{"apply", "-f", many}, "nothing was changed", "no space left on device")
	if after := s.muster("export"); after != before {
		t.Errorf("the refused change is visible:\n%s", after)
	}
	s.refused(nil, []string{"image", "build", "web"}, "has 0 MB free and a build needs", "remove old versions or use a larger disk")
	s.refused(nil, []string{"image", "build", "web", "--local"}, "has 0 MB free and a build needs")

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	a, err := s.lease(silent, longName)
	if err != nil {
		t.Fatalf("with space again: %v", err)
	}
	acked[silent] = a
	write(t, many, manyNodes(200))
	s.muster("apply", "-f", many)
	s.serves(machineMAC(500))
	for range 2 { // also after a restart
		for mac, a := range acked {
			if got := s.holds(mac); got != a {
				t.Errorf("%s has %v, was promised %v", mac, got, a)
			}
		}
		s.stop()
		s.start()
	}
}

// TestStartOnFullDisk: a first start that finds no space says so, and leaves nothing that the next one
// takes for damage.
func TestStartOnFullDisk(t *testing.T) {
	var data string
	s := newBare(t, func(d string) { data = d; smallDisk(t, d) })
	filler := s.fill(data)
	for pages := range 4 { // the database is made of four
		s.refused(nil, []string{"serve"}, "no space left on device")
		fi, err := os.Stat(filler)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filler, fi.Size()-int64(os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
		t.Logf("with %d pages free:", pages+1)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.serves(machineMAC(1))
}

// smallDisk makes dir a disk of 4 MiB.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { // after the server and the rack have ended
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

// longName makes a lease's record large.
var longName = dhcpv4.WithOption(dhcpv4.OptHostName(strings.Repeat("n", 63)))

// fill writes a file until nothing more fits on its disk.
func (s *site) fill(dir string) string {
	s.t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		switch _, err := f.Write(make([]byte, size)); {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			s.t.Fatal(err)
		}
	}
	return path
}

func manyNodes(n int) string {
	var b strings.Builder
	b.WriteString("nodes:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {mac: 52:54:00:cc:%02x:%02x, labels: {rack: a%d, note: %s}}\n", i>>8, i&255, i, strings.Repeat("x", 60))
	}
	return b.String()
}

// holds gives the address that the server has leased to a machine.
func (s *site) holds(mac roles.MAC) netip.Addr {
	s.t.Helper()
	all := s.leases()
	i := slices.IndexFunc(all, func(l api.LeaseView) bool { return l.MAC == mac })
	if i < 0 {
		return netip.Addr{}
	}
	return all[i].Address
}
