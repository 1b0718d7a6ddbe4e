package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/roles"
	"muster/tests/rack"
)

// TestServerDiesInMidBoot kills muster serve with SIGKILL while a machine boots, at several steps. The boot
// goes on with the next server, and nothing that the first one had acknowledged is lost.
func TestServerDiesInMidBoot(t *testing.T) {
	s := newSite(t)
	m := s.powerOn(rack.MachineSpec{Firmware: rack.BIOS})
	mac := m.MAC().String()
	for _, step := range []roles.Step{roles.StepScript, roles.StepHello, roles.StepRoot} {
		s.wait(mac, "at step "+string(step), func(n roles.Node) bool {
			b, err := s.client.Boot(t.Context(), mac, 0)
			return err == nil && order(b.Step) >= order(step)
		})
		node, boot := s.known(mac)
		leases := s.muster("lease", "list", "-o", "json")
		s.kill()
		s.start()
		after, rebooted := s.known(mac)
		if after.Slot != node.Slot || after.Address != node.Address || rebooted.ID != boot.ID {
			t.Fatalf("after the kill at %s the node is %+v, was %+v", step, after, node)
		}
		if diff := cmp.Diff(boot.Events, rebooted.Events[:len(boot.Events)]); diff != "" {
			t.Errorf("acknowledged events changed (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(leases, s.muster("lease", "list", "-o", "json")); diff != "" && step == roles.StepScript {
			t.Errorf("acknowledged leases changed (-before +after):\n%s", diff)
		}
	}
	s.waitReady(mac, "web-01")
	s.report("web-01", m)
	s.get("http://10.77.0.20/")
	if boots, err := s.client.Boots(t.Context(), mac); err != nil || len(boots) != 1 {
		t.Errorf("%d boots (%v): the machine should have come up in one", len(boots), err)
	}
}

func (s *site) known(mac string) (roles.Node, roles.Boot) {
	s.t.Helper()
	n, err := s.client.Node(s.t.Context(), mac)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := s.client.Boot(s.t.Context(), mac, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, b
}

func order(step roles.Step) int {
	for i, s := range roles.Steps {
		if s == step {
			return i
		}
	}
	return -1
}
