package roles_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"muster/roles"
)

// TestClaimModel lets machines, and thieves that see every token, claim and present in any order with boots,
// reports and operators between: a boot has one key, for good, and only that is taken.
func TestClaimModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			c := claims{model: m, rand: rand.New(rand.NewPCG(seed, 2)), won: map[uint64]int{}}
			for range 400 {
				c.step()
			}
			if min(c.good, c.denied, c.present) < 5 {
				t.Errorf("only %d claims, %d refusals, %d words of running systems: the model tries too little", c.good, c.denied, c.present)
			}
		})
	}
}

type claims struct {
	*model
	rand                  *rand.Rand
	won                   map[uint64]int // the key of a boot
	good, denied, present int
}

func (c *claims) step() {
	c.t.Helper()
	if c.rand.IntN(3) == 0 {
		c.model.step()
		return
	}
	x := c.machines[c.rand.IntN(len(c.machines))]
	if c.rand.IntN(4) == 0 {
		t, _ := c.hello(x.mac)
		x.old, x.token, x.seq = x.token, t.Boot.Token, 0
	}
	n, boots := c.look(x.mac)
	if len(boots) == 0 {
		return
	}
	b := boots[0]
	who := 1 + c.rand.IntN(3) // 1 is the machine; every boot makes another key
	k := int(b.ID)*10 + who
	if c.rand.IntN(4) == 0 && len(boots) > 1 {
		k = int(boots[1].ID)*10 + who // of the boot before
	}
	if c.rand.IntN(2) == 0 {
		if won, ok := c.won[boots[c.rand.IntN(len(boots))].ID]; ok && c.rand.IntN(3) > 0 {
			k = won
		}
		c.presents(n, boots, k)
		return
	}
	token := x.token
	if c.rand.IntN(5) == 0 {
		token = x.old
	}
	o, err := c.Claim(c.t.Context(), x.mac, token, key(k))
	won, claimed := c.won[b.ID]
	inTime := b.Ended.IsZero() && b.Step != "" && stepOf(b) >= stepIndex(roles.StepSpec) && stepOf(b) < stepIndex(roles.StepSwitchRoot)
	want := token != "" && token == b.Token && n.Slot != "" && n.Slot == b.Slot && (claimed && won == k || !claimed && inTime)
	if (err == nil) != want {
		c.fail("claim of boot %+v of %+v with key %d, which %d (%v) has: %v, want success: %v", b, n, k, won, claimed, err, want)
	}
	switch {
	case err == nil:
		c.good++
		c.won[b.ID] = k
		if o.Slot.Name != b.Slot || o.Image.Ref.String() != b.Image {
			c.fail("boot %+v claimed %+v", b, o)
		}
	case errors.Is(err, fs.ErrPermission):
		c.denied++
	default:
		c.fail("claim: %v", err)
	}
}

// presents speaks as the running system with key k.
func (c *claims) presents(n roles.Node, boots []roles.Boot, k int) {
	c.t.Helper()
	want := false
	for _, b := range boots {
		if won, claimed := c.won[b.ID]; claimed || stepOf(b) >= stepIndex(roles.StepHello) {
			want = claimed && won == k
			break
		}
	}
	files := fmt.Sprint(c.rand.IntN(3))
	got, err := c.Present(c.t.Context(), n.MAC, key(k), files)
	if (err == nil) != want || err == nil && got.Files != files {
		c.fail("key %d presents %q for %+v: %+v, %v; want success: %v", k, files, n, got, err, want)
	}
	if err == nil {
		c.present++
	} else {
		c.wantDenied("present", err)
	}
}

func (c *claims) look(m roles.MAC) (n roles.Node, boots []roles.Boot) {
	_ = c.Store.View(func(tx roles.Tx) error {
		n, _ = tx.Nodes().Get(m)
		for b := range tx.BootsOf(m) {
			boots = append(boots, b)
		}
		return nil
	})
	return n, boots
}

func stepIndex(s roles.Step) int {
	for i, t := range roles.Steps {
		if s == t {
			return i
		}
	}
	return -1
}

func stepOf(b roles.Boot) int { return stepIndex(b.Step) }
