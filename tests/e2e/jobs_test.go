package e2e

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/roles/api"
	"muster/tests/rack"
)

// TestThreeJobs is what people have Muster for, one after the other in one rack.
func TestThreeJobs(t *testing.T) {
	s := newSite(t)
	var first, second, clock *rack.Machine

	t.Run("bring up", func(t *testing.T) {
		first = s.powerOn(rack.MachineSpec{Name: "first", Firmware: rack.BIOS})
		clock = s.powerOn(rack.MachineSpec{Name: "clock", Firmware: rack.UEFI})
		web := s.waitReady(first.MAC().String(), "web-01")
		ntp := s.waitReady(clock.MAC().String(), "ntp-01")
		s.report("web-01", first)
		s.report("ntp-01", clock)
		if web.Joined == "" || len(web.Match) == 0 || ntp.Joined == "" {
			t.Errorf("nobody can tell why the machines are in their pools: %+v", web)
		}
		if page := s.get("http://10.77.0.20/?before-the-rebuild"); !strings.Contains(page, "web-01") {
			t.Errorf("the page does not name the slot:\n%s", page)
		}
		s.askTime(ntp.Address)
		if out := s.muster("node", "show", "web-01"); !strings.Contains(out, "joined pool web by its rule") {
			t.Errorf("node show does not explain:\n%s", out)
		}
		s.muster("doctor") // fails when it finds fault
		s.waitLeases(web.Address, ntp.Address)
	})
	if t.Failed() {
		return
	}

	t.Run("rebuild", func(t *testing.T) {
		if err := first.Off(); err != nil { // its process is killed: nothing is shut down
			t.Fatal(err)
		}
		s.wait("web-01", "failed", func(n roles.Node) bool { return n.State == roles.StateFailed })
		second = s.powerOn(rack.MachineSpec{Name: "second", Firmware: rack.BIOS})
		n := s.waitReady(second.MAC().String(), "web-01")
		s.report("web-01", second)
		if n.Address != netip.MustParseAddr("10.77.0.20") {
			t.Errorf("the replacement has %s, not the slot's address", n.Address)
		}
		if page := s.get("http://10.77.0.20/?after-the-rebuild"); !strings.Contains(page, "web-01") {
			t.Errorf("the page does not name the slot:\n%s", page)
		}
		s.waitLog("before-the-rebuild", "after-the-rebuild")

		if err := first.On(); err != nil {
			t.Fatal(err)
		}
		old := s.wait(first.MAC().String(), "waiting in its agent", func(n roles.Node) bool {
			b, err := s.client.Boot(t.Context(), n.MAC.String(), 0)
			return err == nil && n.State == roles.StateWaiting && b.Step == roles.StepWait
		})
		if old.Slot != "" || !strings.Contains(old.Why, "took over web-01") {
			t.Errorf("the old machine is in %q: %s", old.Slot, old.Why)
		}
		if n := s.waitReady("web-01", "web-01"); n.MAC != second.MAC() {
			t.Errorf("web-01 went back to %s", n.MAC)
		}
		if err := first.Off(); err != nil {
			t.Fatal(err)
		}
	})
	if t.Failed() {
		return
	}

	t.Run("change role", func(t *testing.T) {
		mac := second.MAC().String()
		s.muster("node", "assign", mac, "ntp")
		s.wait(mac, "draining", func(n roles.Node) bool { return n.State == roles.StateDraining })
		s.muster("node", "power", mac, "cycle")
		n := s.waitReady(mac, "ntp-02")
		s.report("ntp-02", second)
		s.askTime(n.Address)
		var web roles.PoolStatus
		if err := json.Unmarshal([]byte(s.muster("pool", "show", "web", "-o", "json")), &web); err != nil {
			t.Fatal(err)
		}
		for _, slot := range web.Slots {
			if !slot.Node.IsZero() {
				t.Errorf("%s is still a member of web, in %s", slot.Node, slot.Name)
			}
		}
	})
}

// askTime queries a time server as a real client does.
func (s *site) askTime(server netip.Addr) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := s.rack.Command(ctx, "chronyd", "-Q", "-t", "20", "-f", "/dev/null", "server "+server.String()+" iburst")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "System clock wrong by") {
		s.t.Errorf("chronyd -Q got no time from %s: %v\n%s", server, err, out)
	}
}

// waitLog waits until the slot's access log has all of these: it is on the state directory, and what the
// first machine wrote must still be there.
func (s *site) waitLog(want ...string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "data/state/web-01/var-log-nginx/access.log")
	var text string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		b, _ := os.ReadFile(path)
		text = string(b)
		missing := false
		for _, w := range want {
			missing = missing || !strings.Contains(text, w)
		}
		if !missing {
			return
		}
	}
	s.t.Errorf("the state of web-01 does not have %v:\n%s", want, text)
}

// waitLeases waits until only these addresses are leased: the dynamic ones were given back.
func (s *site) waitLeases(want ...netip.Addr) {
	s.t.Helper()
	var left []netip.Addr
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		left = nil
		for _, l := range s.leases() {
			if !slices.Contains(want, l.Address) {
				left = append(left, l.Address)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	s.t.Errorf("dynamic leases were not given back: %v", left)
}

func (s *site) leases() (out []api.LeaseView) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.muster("lease", "list", "-o", "json")), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}
