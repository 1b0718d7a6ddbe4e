package roles_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
)

// key is one that a machine could have made.
func key(i int) string { return fmt.Sprintf("%064x", i) }

func (r *rack) claim(m roles.MAC, token string, i int) roles.Orders {
	r.t.Helper()
	o, err := r.Claim(r.t.Context(), m, token, key(i))
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rack) wantDenied(what string, err error) {
	r.t.Helper()
	if !errors.Is(err, fs.ErrPermission) {
		r.t.Errorf("%s: got %v, want a permission error", what, err)
	}
}

func TestClaim(t *testing.T) {
	r := newRack(t)
	ticket, orders := r.hello(mac(1))
	token := ticket.Boot.Token
	for _, bad := range []string{"", "x", key(1)[2:], key(1) + "00", strings.Repeat("z", 64)} {
		if _, err := r.Claim(t.Context(), mac(1), token, bad); !errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), bad) && len(bad) > 1 {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	_, err := r.Claim(t.Context(), mac(1), "x", key(1))
	r.wantDenied("another token", err)
	_, err = r.Claim(t.Context(), mac(2), token, key(1))
	r.wantDenied("another machine", err)

	got := r.claim(mac(1), token, 10)
	if got.Slot == nil || *got.Slot != *orders.Slot || got.Image.Ref != orders.Image.Ref || got.Node.MAC != mac(1) || got.Role.Name != "web" {
		t.Errorf("orders %+v", got)
	}
	before := r.Revision()
	r.claim(mac(1), token, 10)
	if _, err := r.Claim(t.Context(), mac(1), token, strings.ToUpper(key(10))); err != nil {
		t.Errorf("the same key in capitals: %v", err)
	}
	if r.Revision() != before {
		t.Error("asking again is written")
	}
	for range 3 {
		_, err = r.Claim(t.Context(), mac(1), token, key(11))
		r.wantDenied("another key", err)
	}
	b := r.boot("web-01")
	warnings := 0
	for _, ev := range b.Events {
		if strings.Contains(ev.Error, "was redeemed twice") {
			warnings++
		}
	}
	if warnings != 1 || b.Step != roles.StepSpec || !b.Ended.IsZero() {
		t.Errorf("%d warnings; the boot is %+v", warnings, b)
	}
	if r.node("web-01").State != roles.StateBooting {
		t.Error("who comes too late fails the boot")
	}
	// The machine that was first goes on, and may ask again when it serves.
	r.report(mac(1), token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.claim(mac(1), token, 10)
	_, err = r.Claim(t.Context(), mac(1), token, key(12))
	r.wantDenied("another key for a node that serves", err)
	r.wantNode("web-01", "web-01", roles.StateReady)

	next, _ := r.hello(mac(1))
	_, err = r.Claim(t.Context(), mac(1), token, key(10))
	r.wantDenied("the token of the boot before", err)
	r.claim(mac(1), next.Boot.Token, 13)
}

// A neighbour that reads the token and is faster: the machine is refused, says so, and does not get ready.
func TestClaimStolen(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 66)
	_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("the machine itself", err)
	// While nothing is heard of it, what answers at its address is not taken for it.
	r.now = r.now.Add(time.Minute)
	r.check(3, nil)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: err.Error()})
	r.check(3, nil)
	n := r.wantNode("web-01", "web-01", roles.StateFailed)
	if !strings.Contains(n.Why, "somebody else has redeemed the token") {
		t.Errorf("why %q", n.Why)
	}
}

// A token is worth something only between the orders and switch-root.
func TestClaimTimes(t *testing.T) {
	r := newRack(t)
	ticket, err := r.Script(t.Context(), mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("before hello", err)

	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	waiting, _ := r.hello(mac(2))
	_, err = r.Claim(t.Context(), mac(2), waiting.Boot.Token, key(1))
	r.wantDenied("while it waits", err)
	r.assign(mac(2).String(), "web")
	if _, err := r.Orders(t.Context(), mac(2), waiting.Boot.Token); err != nil {
		t.Fatal(err)
	}
	r.claim(mac(2), waiting.Boot.Token, 2)

	r.assign(mac(3).String(), "web")
	late, _ := r.powerOn(mac(3))
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("after switch-root", err)
	r.check(1, nil)
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("when it serves", err)
	// Who has the token can make it look as if the agent spoke again; that opens nothing.
	if _, err := r.Orders(t.Context(), mac(3), late.Boot.Token); err != nil {
		t.Fatal(err)
	}
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("after a word of who has the token", err)

	r.assign(mac(4).String(), "web")
	failed, _ := r.hello(mac(4))
	r.report(mac(4), failed.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: "no root"})
	_, err = r.Claim(t.Context(), mac(4), failed.Boot.Token, key(1))
	r.wantDenied("after it failed", err)
}

// The secrets of a slot are for who has it.
func TestClaimSlot(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 1)
	r.assign("web-01", "ntp")
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Slot.Name != "web-01" || o.Role.Name != "web" {
		t.Errorf("a node on its way elsewhere boots as %+v", o)
	}
	if o, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil || o.Slot.Name != "ntp-01" {
		t.Fatalf("%+v, %v", o, err)
	}
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Slot.Name != "ntp-01" || o.Image.Ref.Name != "ntp" {
		t.Errorf("after its orders changed it gets %+v", o)
	}
	if _, err := r.Release(t.Context(), "ntp-01"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("without a slot", err)
	// A slot that it was given since is not the one that it boots as.
	r.assign(mac(1).String(), "web")
	_, err = r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("for another slot", err)
}

// moving is a catalog whose current version the test chooses.
type moving struct{ current *int }

func (m moving) Find(ref images.Ref) (images.Image, error) {
	if ref.Version == 0 {
		ref.Version = *m.current
	}
	return images.Image{Ref: ref, Kernel: kernel}, nil
}

// What is claimed belongs to the image that the boot has, also when another is published meanwhile.
func TestClaimImage(t *testing.T) {
	r := newRack(t)
	current := 7
	r.Images = moving{&current}
	ticket, _ := r.hello(mac(1))
	current = 8
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Image.Ref.String() != "web:7" {
		t.Errorf("image %s", o.Image.Ref)
	}
}

func TestClaimAtOnce(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	var won []int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else {
				r.wantDenied("too late", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d machines have redeemed one token", len(won))
	}
}

func TestPresent(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	present := func(i int, files string) (roles.Node, error) { return r.Present(t.Context(), mac(1), key(i), files) }
	_, err := present(1, "")
	r.wantDenied("before a claim", err)
	r.claim(mac(1), ticket.Boot.Token, 1)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	if n, err := present(1, "aa"); err != nil || n.Files != "aa" || n.Slot != "web-01" || n.Address.String() != "10.77.0.20" {
		t.Errorf("%+v, %v", n, err)
	}
	if n := r.node("web-01"); n.Files != "aa" {
		t.Errorf("files %q", n.Files)
	}
	before := r.Revision()
	for range 3 {
		if _, err := present(1, "aa"); err != nil {
			t.Error(err)
		}
	}
	_, err = present(2, "bb")
	r.wantDenied("another key", err)
	if _, err = r.Present(t.Context(), mac(1), "x", ""); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no key: %v", err)
	}
	_, err = r.Present(t.Context(), mac(9), key(1), "")
	r.wantDenied("a machine that nobody knows", err)
	if r.Revision() != before {
		t.Error("a poll that brings nothing new is written")
	}

	// Anybody can send a DISCOVER, and fetch a script.
	if err := r.Observe(t.Context(), []roles.Sighting{{MAC: mac(1), Time: r.now.Add(time.Second), Step: roles.StepDiscover, Boots: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
		t.Fatal(err)
	}
	if _, err := present(1, "aa"); err != nil {
		t.Errorf("after a DISCOVER of somebody: %v", err)
	}
	next, _ := r.hello(mac(1))
	_, err = present(1, "aa")
	r.wantDenied("after the node restarted", err)
	r.claim(mac(1), next.Boot.Token, 3)
	if _, err := present(3, "cc"); err != nil {
		t.Error(err)
	}
	_, err = present(1, "aa")
	r.wantDenied("with the key of the boot before", err)
}

// A node that runs as another slot than it has is not given the files of that one.
func TestPresentElsewhere(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 1)
	sync := func() bool {
		t.Helper()
		err := r.Store.Update(t.Context(), func(tx roles.Tx) error {
			n, _ := tx.Nodes().Get(mac(1))
			n.Sync = true
			return tx.Nodes().Put(n)
		})
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.Present(t.Context(), mac(1), key(1), "")
		if err != nil {
			t.Fatal(err)
		}
		return n.Sync
	}
	if !sync() {
		t.Error("its own files are kept from it")
	}
	if _, err := r.Release(t.Context(), "web-01"); err != nil {
		t.Fatal(err)
	}
	if sync() {
		t.Error("without a slot, it gets files")
	}
	r.assign(mac(1).String(), "ntp")
	if sync() {
		t.Error("it gets the files of what it is not yet")
	}
}
