package roles

import (
	"cmp"
	"fmt"

	"muster/images"
)

// InUse says why an image version must not be removed, "" when it may be: a node runs it, a boot loads it, a
// pool is pinned to it, a rollout goes from or to it.
func (r *Registry) InUse(ref images.Ref) (why string) {
	name := ref.String()
	err := r.Store.View(func(tx Tx) error {
		for n := range tx.Nodes().All() {
			if why = n.uses(tx, name); why != "" {
				return nil
			}
		}
		for p := range tx.Pools().All() {
			if p.Image == name {
				why = fmt.Sprintf("pool %s is pinned to it", p.Name)
				return nil
			}
			if ro, ok := tx.Rollouts().Get(p.Name); ok && (ro.From == ref || ro.Image == ref) {
				why = ro.use(ref)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return "what uses it is not known: " + err.Error()
	}
	return why
}

// uses says what n does with an image.
func (n Node) uses(tx Tx, image string) string {
	who := cmp.Or(n.Slot, n.MAC.String())
	b, ok := latest(tx, n)
	if !ok || n.State == StateOff && !b.Ended.IsZero() {
		return ""
	}
	step := order(b.Step)
	switch {
	case b.Image == image && step >= order(StepSpec):
		if n.State == StateReady || n.State == StateDraining {
			return who + " runs it"
		}
		return who + " boots it, or may still run it"
	case b.Image == image && (n.Slot != "" || step < order(StepHello)) && step >= order(StepScript) && b.Ended.IsZero():
		return who + " boots it"
	case n.Image == image && (step < order(StepHello) || n.State == StateReady):
		// Until an agent speaks in it, a boot may be a packet that somebody else sent.
		return who + " may still run it"
	}
	return ""
}

func (ro Rollout) use(ref images.Ref) string {
	switch {
	case ro.active():
		return fmt.Sprintf("a rollout takes pool %s from %s to %s", ro.Pool, ro.From, ro.Image)
	case ro.From == ref:
		return fmt.Sprintf("pool %s ran it before its last rollout, and may be rolled back to it", ro.Pool)
	}
	return fmt.Sprintf("the last rollout of pool %s was to it", ro.Pool)
}
