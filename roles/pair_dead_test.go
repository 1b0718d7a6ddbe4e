package roles_test

import (
	"testing"
	"time"

	"muster/roles"
)

// A half that was fenced is switched on again. When it does not boot, another machine may take its place: soon where
// its power says that it is off, later where only its firmware is silent.
func TestDeadHalf(t *testing.T) {
	for _, tc := range []struct {
		name string
		deaf bool
		wait time.Duration
		told string
	}{
		{"its power goes off again", true, time.Minute, "was switched on, and is off"},
		{"it does not boot", false, 5 * time.Minute, "has not asked for an address"},
	} {
		p := wholePair(t)
		p.alive(time.Minute)
		if err := p.fence(st1); err != nil {
			t.Fatal(err)
		}
		p.power.deaf = tc.deaf
		for waited := time.Duration(0); p.node("storage-02").State != roles.StateFailed; waited += 5 * time.Second {
			if waited > tc.wait {
				t.Fatalf("%s: it is %s after %s", tc.name, p.node("storage-02").State, waited)
			}
			p.says(st1, p.alone("DATA-1", "m1"))
			p.tick(5 * time.Second)
		}
		p.wantTold(tc.told)
		p.now = p.now.Add(31 * time.Second)
		p.power.deaf = false
		p.boot(mac(3))
		p.wantNode(mac(3).String(), "storage-02", roles.StateBooting)
		if p.power.on[st2.String()] {
			t.Errorf("%s: it may still run", tc.name)
		}
	}
}
