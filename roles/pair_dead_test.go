package roles_test

import (
	"testing"
	"time"

	"muster/roles"
)

// A half that was fenced is switched on again. When its power soon says that it is off, another machine may take its
// place; one that is on, and only silent, has more time.
func TestDeadHalf(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	if err := p.fence(st1); err != nil {
		t.Fatal(err)
	}
	minutes := func(n int) {
		for range 12 * n {
			p.says(st1, p.alone("DATA-1", "m1"))
			p.tick(5 * time.Second)
		}
	}
	minutes(5)
	p.wantNode("storage-02", "storage-02", roles.StateBooting)
	p.power.on[st2.String()] = false
	p.rec.Checker = slotVerdict{"storage-02", errRefused}
	minutes(1)
	p.wantNode("storage-02", "storage-02", roles.StateFailed)
	p.wantTold("was switched on, and is off")
	p.boot(mac(3))
	p.wantNode(mac(3).String(), "storage-02", roles.StateBooting)
}
