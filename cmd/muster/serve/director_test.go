package serve

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dhcpd"
	"muster/httpboot/agent"
	"muster/images"
	"muster/roles"
)

// TestPollHoldsForStorage: a node whose storage is not there is told so, keeps its connection while there is no news,
// and hears of news at once.
func TestPollHoldsForStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rackOf(t)
		s.networks = []network{{Subnet: dhcpd.Subnet{Prefix: netip.MustParsePrefix("10.77.0.0/24")}}}
		s.packs.catalog, s.packs.log = s.catalog, s.log
		d := &director{server: s}
		mac, err := roles.ParseMAC(webMAC)
		if err != nil {
			t.Fatal(err)
		}
		addresses := func(s string) roles.AddressRange {
			r, err := roles.ParseAddressRange(s)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		change(t, s, func(tx roles.Tx) error {
			web := addresses("10.77.0.20")
			for _, err := range []error{
				tx.Pools().Put(roles.Pool{Name: "storage", Role: "web", Addresses: addresses("10.77.0.10-10.77.0.11"),
					Pair: &roles.PairSpec{Address: netip.MustParseAddr("10.77.0.9"), Disk: roles.DiskRule{Serial: "D*"}}}),
				tx.Slots().Put(roles.Slot{Name: "storage-01", Pool: "storage", Number: 1, Address: netip.MustParseAddr("10.77.0.10")}),
				tx.Slots().Put(roles.Slot{Name: "storage-02", Pool: "storage", Number: 2, Address: netip.MustParseAddr("10.77.0.11")}),
				tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Storage: "storage", Addresses: web}),
				tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: web.First, Node: mac}),
				tx.Nodes().Put(roles.Node{MAC: mac, Pool: "web", Slot: "web-01", State: roles.StateBooting, Boot: 1}),
				tx.Boots().Put(roles.Boot{ID: 1, Node: mac, Started: time.Now(), Token: "t", Step: roles.StepHello}),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		})
		poll := func() (string, time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), agent.PollHold)
			defer cancel()
			begin := time.Now()
			r, err := d.Poll(ctx, agent.Poll{MAC: webMAC, Token: "t"})
			if err != nil || r.Spec != nil {
				t.Fatalf("Poll = %+v, %v", r, err)
			}
			return r.Wait, time.Since(begin)
		}
		// Its image is packed first; nobody does that here until it is there.
		if why, took := poll(); why != "web:4 is being packed" || took < agent.PollHold {
			t.Errorf("waits for %q; held for %s", why, took)
		}
		packed := time.AfterFunc(5*time.Second, func() { repack(t, s, images.Ref{Name: "web", Version: 4}) })
		defer packed.Stop()
		if why, took := poll(); !strings.HasPrefix(why, "waits for storage: ") || took < 5*time.Second || took > 8*time.Second {
			t.Errorf("waits for %q; heard after %s", why, took)
		}
		// Nothing happens any more: two polls, of which the second says what the first did.
		first, _ := poll()
		if why, took := poll(); why != first || took < agent.PollHold {
			t.Errorf("waits for %q, and before for %q; held for %s", why, first, took)
		}
		// It loses its slot.
		time.AfterFunc(3*time.Second, func() {
			change(t, s, func(tx roles.Tx) error {
				n, _ := tx.Nodes().Get(mac)
				n.Slot, n.State = "", roles.StateWaiting
				sl, _ := tx.Slots().Get("web-01")
				sl.Node = roles.MAC{}
				if err := tx.Slots().Put(sl); err != nil {
					return err
				}
				return tx.Nodes().Put(n)
			})
		})
		if _, took := poll(); took > 6*time.Second {
			t.Errorf("that it lost its slot it heard after %s", took)
		}
	})
}
