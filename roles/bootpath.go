package roles

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"muster/images"
)

// Ticket is what a machine boots with: what its script loads and how the agent proves which boot it is.
type Ticket struct {
	Node Node
	Boot Boot
	// Image is what to load. For a machine without a slot it is any image: its agent waits.
	Image images.Image
	// Role is what the machine boots as; zero without a slot.
	Role Role
	// Retry is a sentence when nothing can be booted now; the machine asks again.
	Retry string
}

// Orders is the answer to an agent. Exactly one of Wait, Reboot and Slot is set.
type Orders struct {
	// Wait and Reboot are sentences: what the machine waits for, why it must restart.
	Wait, Reboot string
	Node         Node
	Slot         *Slot
	Role         Role
	Image        images.Image
}

// HostOf gives the fixed address and name of a machine that has a slot; ok is false for one that has
// none. A machine that starts a boot (boots) while it is to move to another pool moves now: from its
// first packet it is the new thing.
func (r *Registry) HostOf(ctx context.Context, mac MAC, boots bool) (name string, addr netip.Addr, ok bool) {
	n, found := r.peek(mac)
	if !found {
		return "", netip.Addr{}, false
	}
	if boots && n.State == StateDraining {
		now := r.now()
		err := r.Store.Update(ctx, func(tx Tx) error {
			n, found = tx.Nodes().Get(mac)
			if !found || n.State != StateDraining {
				return nil
			}
			moved, err := r.move(tx, n, now, MAC{})
			if err == nil {
				n = moved
			}
			return err
		})
		// DHCP does not wait until a failed machine is switched off: the script does.
		if err != nil && !errors.As(err, new(*unfenced)) {
			r.log().Error("node could not move to its new pool", "mac", mac, "err", err)
		}
	}
	if n.Slot == "" {
		return "", netip.Addr{}, false
	}
	return n.Slot, n.Address, true
}

// move takes a draining node to the pool that it was assigned to, as it boots.
func (r *Registry) move(tx Tx, n Node, now time.Time, fenced MAC) (Node, error) {
	from := n.Slot
	n, err := vacate(tx, n, now)
	if err != nil {
		return n, err
	}
	n.enter(StateBooting, "", now)
	n, p, err := settle(tx, n, now, fenced)
	if err != nil {
		return n, err
	}
	return n, r.moved(tx, n, from, p.Why, now)
}

// moveLater takes a draining node that is switched off to the pool that it was assigned to.
func (r *Registry) moveLater(tx Tx, n Node, now time.Time) (Node, error) {
	from := n.Slot
	n, err := vacate(tx, n, now)
	if err != nil {
		return n, err
	}
	if n, err = settleLater(tx, n, now); err != nil {
		return n, err
	}
	return n, r.moved(tx, n, from, cmp.Or(n.Joined, n.Why), now)
}

func (r *Registry) moved(tx Tx, n Node, from, why string, now time.Time) error {
	r.log().Info("node changes role", "mac", n.MAC, "from", from, "node", n.Slot, "pool", n.Pool)
	return operator(tx, n, now, fmt.Sprintf("left %s; %s", from, why))
}

func (r *Registry) peek(mac MAC) (n Node, ok bool) {
	_ = r.Store.View(func(tx Tx) error { n, ok = tx.Nodes().Get(mac); return nil })
	return n, ok
}

// Script decides what a machine's firmware loads, begins its boot if no DISCOVER did, and gives it the
// boot's token. It is called again when the firmware retries, with the same answer.
func (r *Registry) Script(ctx context.Context, mac MAC, facts Facts) (Ticket, error) {
	now := r.now()
	var t Ticket
	err := r.taking(ctx, func(tx Tx, fenced MAC) error {
		t = Ticket{}
		n, ok := tx.Nodes().Get(mac)
		if !ok {
			n = Node{MAC: mac, FirstSeen: now}
		}
		n.LastSeen, n.Facts = now, n.Facts.merge(facts)
		b, ok := latest(tx, n)
		// A machine whose agent ran has been reset, even if nobody saw its DISCOVER.
		if !ok || !b.Ended.IsZero() || order(b.Step) >= order(StepHello) {
			var err error
			if b, err = begin(tx, &n, now); err != nil {
				return err
			}
		}
		n, err := r.placeForBoot(tx, n, now, fenced)
		if err != nil {
			return err
		}
		n.enter(StateBooting, n.Why, now)
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
		if b.Token == "" {
			b.Token = newToken()
		}
		b.Slot, b.Address = n.Slot, facts.Address
		t.Image, t.Role, t.Retry = r.payload(tx, n)
		if n.Slot != "" {
			// What keeps it from booting is also why it is not ready.
			n.enter(StateBooting, t.Retry, now)
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
		}
		if t.Retry == "" {
			b.Image = t.Image.Ref.String()
		}
		ev := Event{Time: now, Step: StepScript, Message: cmp.Or(n.Joined, n.Why)}
		if t.Retry != "" {
			ev.Error = t.Retry
		}
		if err := advance(tx, n, &b, ev); err != nil {
			return err
		}
		t.Node, t.Boot = n, b
		return nil
	})
	if err == nil {
		r.log().Info("script", "mac", mac, "node", t.Node.Slot, "pool", t.Node.Pool, "image", t.Image.Ref, "why", cmp.Or(t.Node.Joined, t.Node.Why))
	}
	return t, err
}

// placeForBoot settles n at the start of a boot, when it may also move to another pool.
func (r *Registry) placeForBoot(tx Tx, n Node, now time.Time, fenced MAC) (Node, error) {
	if n.State == StateDraining {
		return r.move(tx, n, now, fenced)
	}
	n, _, err := settle(tx, n, now, fenced)
	return n, err
}

// payload finds what n loads: its pool's image or, without a slot, the first pool's that is built. Nobody knows
// yet which network card such a machine has, so one with the small kernel is the last choice: without a
// driver its agent could never speak.
func (r *Registry) payload(tx Tx, n Node) (images.Image, Role, string) {
	if n.Slot != "" {
		role, img, err := r.bootsIn(tx, n.Pool, n.Slot)
		if err != nil {
			return images.Image{}, Role{}, sentence(err)
		}
		return img, role, ""
	}
	var small images.Image
	for p := range tx.Pools().All() {
		_, img, err := r.workOf(tx, p.Name)
		switch {
		case err != nil:
		case img.Flavour != images.KernelCloud:
			return img, Role{}, ""
		case small.Ref.Name == "":
			small = img
		}
	}
	if small.Ref.Name != "" {
		return small, Role{}, ""
	}
	return images.Image{}, Role{}, "no image is built yet; build one: muster image build ROLE"
}

// workOf gives a pool's role and image.
func (r *Registry) workOf(tx Tx, pool string) (Role, images.Image, error) {
	return r.bootsIn(tx, pool, "")
}

// bootsIn gives a pool's role, and the image that the occupant of a slot boots: while a rollout goes on, each
// slot has its own.
func (r *Registry) bootsIn(tx Tx, pool, slot string) (Role, images.Image, error) {
	p, ok := tx.Pools().Get(pool)
	if !ok {
		return Role{}, images.Image{}, fmt.Errorf("roles: pool %s: %w", pool, fs.ErrNotExist)
	}
	if ro, ok := tx.Rollouts().Get(pool); ok && ro.active() {
		p.Image = ro.boots(slot).String()
	}
	return r.pinOf(tx, p)
}

// pinOf gives a pool's role, and the image that it boots when no rollout goes on.
func (r *Registry) pinOf(tx Tx, p Pool) (Role, images.Image, error) {
	role, err := r.effective(tx, p.Role)
	if err != nil {
		return Role{}, images.Image{}, err
	}
	ref := images.Ref{Name: role.ImageName()}
	if p.Image != "" {
		if ref, err = images.ParseRef(p.Image); err != nil {
			return role, images.Image{}, err
		}
	}
	img, err := r.Images.Find(ref)
	return role, img, err
}

// Hello takes what an agent found in its machine, and answers with its orders.
// The error wraps fs.ErrPermission when the token is not that of the node's latest boot.
func (r *Registry) Hello(ctx context.Context, mac MAC, token, kernel string, uptime time.Duration, facts Facts) (Orders, error) {
	now := r.now()
	var o Orders
	err := r.taking(ctx, func(tx Tx, fenced MAC) error {
		n, b, err := authentic(tx, mac, token)
		if err != nil {
			return err
		}
		n.LastSeen, n.Facts = now, n.Facts.merge(facts)
		b.Kernel = kernel
		b.revive(&n, now)
		if order(b.Step) < order(StepHello) {
			b.Up = now.Add(-uptime)
			if err := advance(tx, n, &b, Event{Time: now, Step: StepHello, Message: facts.describe()}); err != nil {
				return err
			}
		}
		o, err = r.orders(tx, n, b, now, fenced)
		return err
	})
	return o, err
}

// pollHold is longer than an agent's question may be on its way, since a poll is answered late on purpose:
// until then it tells nothing about a machine that was switched off meanwhile.
const pollHold = 30 * time.Second

// Orders answers an agent that said hello before and asks again.
func (r *Registry) Orders(ctx context.Context, mac MAC, token string) (Orders, error) {
	now := r.now()
	var o Orders
	err := r.taking(ctx, func(tx Tx, fenced MAC) error {
		n, b, err := authentic(tx, mac, token)
		if err != nil {
			return err
		}
		if n.State == StateOff && now.Sub(n.Since) < pollHold {
			o = Orders{Wait: n.Why, Node: n}
			return nil
		}
		n.LastSeen = now
		b.revive(&n, now)
		o, err = r.orders(tx, n, b, now, fenced)
		return err
	})
	return o, err
}

// Authentic checks the token of a node's latest boot, before an agent is kept waiting. It only reads. The
// error is that of Hello.
func (r *Registry) Authentic(mac MAC, token string) error {
	return r.Store.View(func(tx Tx) error {
		_, _, err := authentic(tx, mac, token)
		return err
	})
}

// Placeable reports whether the orders of a waiting node could have changed: it has a slot now, or would
// get one. It only reads.
func (r *Registry) Placeable(mac MAC) bool {
	ok := false
	_ = r.Store.View(func(tx Tx) error {
		n, found := tx.Nodes().Get(mac)
		if !found {
			ok = true // forgotten: the agent must be told
			return nil
		}
		pool, slot := n.Pool, n.Slot
		if slot == "" {
			p := Resolve(n, views(tx), r.now())
			if p.Slot == "" {
				return nil
			}
			pool, slot = p.Pool, p.Slot
		}
		_, _, err := r.bootsIn(tx, pool, slot)
		ok = err == nil
		return nil
	})
	return ok
}

func (r *Registry) orders(tx Tx, n Node, b Boot, now time.Time, fenced MAC) (Orders, error) {
	n, err := r.placeForBoot(tx, n, now, fenced)
	if err != nil {
		return Orders{}, err
	}
	if n.Slot == "" {
		return r.hold(tx, n, b, n.Why, now)
	}
	role, img, err := r.bootsIn(tx, n.Pool, n.Slot)
	if err != nil {
		return r.hold(tx, n, b, sentence(err), now)
	}
	n.enter(StateBooting, "", now)
	if err := tx.Nodes().Put(n); err != nil {
		return Orders{}, err
	}
	s, _ := tx.Slots().Get(n.Slot)
	if img.Kernel != b.Kernel {
		why := fmt.Sprintf("%s needs kernel %s, and %s runs", img.Ref, img.Kernel, b.Kernel)
		return Orders{Reboot: why, Node: n}, advance(tx, n, &b, Event{Time: now, Step: StepReboot, Message: why})
	}
	p, _ := tx.Pools().Get(n.Pool)
	n.Image, n.Storage = img.Ref.String(), p.Storage
	if err := tx.Nodes().Put(n); err != nil {
		return Orders{}, err
	}
	b.Slot, b.Image = n.Slot, n.Image
	if order(b.Step) < order(StepSpec) {
		// Before the spec: a boot whose last event is an error has failed.
		if err := r.unnamedSlot(tx, role, s, b, now); err != nil {
			return Orders{}, err
		}
		err = advance(tx, n, &b, Event{Time: now, Step: StepSpec, Message: fmt.Sprintf("%s as %s with %s", n.MAC, n.Slot, img.Ref)})
	} else {
		err = tx.Boots().Put(b)
	}
	return Orders{Node: n, Slot: &s, Role: role, Image: img}, err
}

// hold lets the agent wait, and records it once.
func (r *Registry) hold(tx Tx, n Node, b Boot, why string, now time.Time) (Orders, error) {
	n.enter(StateWaiting, why, now)
	if err := tx.Nodes().Put(n); err != nil {
		return Orders{}, err
	}
	if k := len(b.Events); k > 0 && b.Events[k-1].Step == StepWait && b.Events[k-1].Message == why {
		return Orders{Wait: why, Node: n}, tx.Boots().Put(b)
	}
	return Orders{Wait: why, Node: n}, advance(tx, n, &b, Event{Time: now, Step: StepWait, Message: why})
}

// authentic gives the node and boot that the token belongs to.
func authentic(tx Tx, mac MAC, token string) (Node, Boot, error) {
	n, ok := tx.Nodes().Get(mac)
	if !ok {
		// Not "does not exist": the machine has to restart to be known again, as with any other old token.
		return Node{}, Boot{}, fmt.Errorf("roles: node %s is not known, and neither is its token: %w", mac, fs.ErrPermission)
	}
	b, ok := latest(tx, n)
	if !ok || b.Token == "" || subtle.ConstantTimeCompare([]byte(b.Token), []byte(token)) != 1 {
		return Node{}, Boot{}, fmt.Errorf("roles: the token is not that of the latest boot of %s: %w", mac, fs.ErrPermission)
	}
	return n, b, nil
}

// newToken is 128 random bits: it cannot be guessed while a boot lasts.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// describe puts the facts of a hello into a sentence.
func (f Facts) describe() string {
	s := fmt.Sprintf("%s %s", cmp.Or(f.Manufacturer, "unknown maker"), cmp.Or(f.Product, "unknown model"))
	if i := f.Inventory; i != nil {
		s += fmt.Sprintf(", %d CPUs, %d MiB, %d NICs, %d disks", i.CPUs, i.Memory, len(i.NICs), len(i.Disks))
	}
	return s
}

// sentence is an error's text for people: without the io/fs kind at its end.
func sentence(err error) string {
	s := err.Error()
	for _, kind := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrInvalid, fs.ErrPermission} {
		if suffix := ": " + kind.Error(); errors.Is(err, kind) && len(s) > len(suffix) && s[len(s)-len(suffix):] == suffix {
			return s[:len(s)-len(suffix)]
		}
	}
	return s
}
