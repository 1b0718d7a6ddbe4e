package roles

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"muster/images"
)

// Claim redeems the one-time token of a boot for the key that the machine made: from then on key is what proves
// that it is this machine. Who has the token and another key comes too late: the error wraps fs.ErrPermission
// and an event says so. The same machine may ask again. It gives the orders that the boot has.
//
// The token is in the iPXE script, which goes over the wire in the clear: a neighbour can read it, and be the
// first to claim. Then the machine's own claim is refused, it ends its boot with that error, and never gets
// ready; its next boot has another token. A token that was not redeemed before switch-root never is: later
// nothing of the machine would notice.
func (r *Registry) Claim(ctx context.Context, mac MAC, token, key string) (o Orders, err error) {
	claim, err := claimOf(key)
	if err != nil {
		return Orders{}, err
	}
	now := r.now()
	var late error
	err = r.Store.Update(ctx, func(tx Tx) error {
		late = nil
		n, b, err := authentic(tx, mac, token)
		if err != nil {
			return err
		}
		if b.Claim == "" {
			if err := claimable(n, b); err != nil {
				return err
			}
			b.Claim, n.LastSeen = claim, now
			if err := tx.Boots().Put(b); err != nil {
				return err
			}
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
		} else if !same(b.Claim, claim) {
			// What is written below must stay, so the transaction does not fail.
			late = fmt.Errorf("roles: somebody else has redeemed the token of boot %d of %s: %w", b.ID, mac, fs.ErrPermission)
			return r.contested(tx, n, b, now)
		}
		o, err = r.claimed(tx, n, b)
		return err
	})
	if err = cmp.Or(err, late); err != nil {
		return Orders{}, err
	}
	return o, nil
}

// claimOf is what a boot keeps of the key that it was claimed with.
func claimOf(key string) (string, error) {
	const size = 32
	b, err := hex.DecodeString(key)
	if err != nil || len(b) != size {
		return "", fmt.Errorf("roles: a key is %d bytes in hex: %w", size, fs.ErrInvalid)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// same compares two claims without telling by its time how much of them is the same.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// claimable says why a boot that nobody claimed yet cannot be claimed now.
func claimable(n Node, b Boot) error {
	switch {
	case !b.Ended.IsZero() || order(b.Step) >= order(StepSwitchRoot):
		return fmt.Errorf("roles: boot %d of %s is past the time at which its token could be redeemed: %w", b.ID, n.MAC, fs.ErrPermission)
	case order(b.Step) < order(StepSpec):
		return fmt.Errorf("roles: boot %d of %s has no orders yet, and nothing to claim: %w", b.ID, n.MAC, fs.ErrPermission)
	}
	return nil
}

// claimed gives the orders that b has. The secrets of a slot are for who boots as it, and still has it.
func (r *Registry) claimed(tx Tx, n Node, b Boot) (Orders, error) {
	s, ok := tx.Slots().Get(b.Slot)
	if !ok || s.Node != n.MAC {
		return Orders{}, fmt.Errorf("roles: %s no longer has %s, for which it booted; it has to restart: %w", n.MAC, cmp.Or(b.Slot, "a slot"), fs.ErrPermission)
	}
	p, _ := tx.Pools().Get(s.Pool)
	role, err := r.effective(tx, p.Role)
	if err != nil {
		return Orders{}, err
	}
	ref, err := images.ParseRef(b.Image)
	if err != nil {
		return Orders{}, fmt.Errorf("roles: boot %d of %s: %w", b.ID, n.MAC, err)
	}
	img, err := r.Images.Find(ref)
	return Orders{Node: n, Slot: &s, Role: role, Image: img}, err
}

// contested tells people, once a boot, that two machines redeemed the same token.
func (r *Registry) contested(tx Tx, n Node, b Boot, now time.Time) error {
	const why = "the one-time token of this boot was redeemed twice, with two keys: one of the two is not this machine, and may have its secrets; " +
		"find out who is on its network, then rotate them: muster secret rotate"
	for _, ev := range b.Events {
		if ev.Error == why {
			return nil
		}
	}
	r.log().Warn("boot token redeemed twice", "mac", n.MAC, "node", n.Slot, "pool", n.Pool)
	return advance(tx, n, &b, Event{Time: now, Step: StepFiles, Error: why})
}

// Present takes a word of a node's running system: key is the one that it claimed its latest boot with (the
// error wraps fs.ErrPermission for another one), files the revision of the files that it has. It gives the
// node; Sync is set in it only while the node still has the slot that it runs as, so that it never gets the
// files of another one.
//
// A boot that did not come to its agent is no restart: anybody can send a DISCOVER with the node's MAC.
func (r *Registry) Present(ctx context.Context, mac MAC, key, files string) (Node, error) {
	claim, err := claimOf(key)
	if err != nil {
		return Node{}, err
	}
	var n Node
	var b Boot
	err = r.Store.View(func(tx Tx) (err error) { n, b, err = running(tx, mac, claim); return err })
	if err != nil {
		return Node{}, err
	}
	now := r.now()
	r.noteAgent(mac, now)
	if n.Files != files {
		err = r.Store.Update(ctx, func(tx Tx) error {
			if n, b, err = running(tx, mac, claim); err != nil {
				return err
			}
			n.Files, n.LastSeen = files, now
			return tx.Nodes().Put(n)
		})
	}
	n.Sync = n.Sync && n.Slot == b.Slot
	return n.shown(), err
}

// running gives the node whose running system made this claim, and the boot that it made it in.
func running(tx Tx, mac MAC, claim string) (Node, Boot, error) {
	n, ok := tx.Nodes().Get(mac)
	if !ok {
		return Node{}, Boot{}, fmt.Errorf("roles: node %s is not known: %w", mac, fs.ErrPermission)
	}
	for b := range tx.BootsOf(mac) {
		if b.Claim == "" && order(b.Step) < order(StepHello) {
			continue
		}
		if b.Claim != "" && same(b.Claim, claim) {
			return n, b, nil
		}
		break
	}
	return Node{}, Boot{}, fmt.Errorf("roles: the key is not that of the latest boot of %s: %w", mac, fs.ErrPermission)
}
