package roles_test

import (
	"context"
	"errors"
	"time"

	"muster/images"
	"muster/roles"
)

// box is a machine as it is, whatever the server believes: its power, how far it is, and what it runs.
type box struct {
	mac   roles.MAC
	on    bool
	phase phase
	token string
	image images.Ref // what its orders were, from phase mounting on
	dead  bool       // its service does not work, whatever it runs
	mute  bool       // its own agent does not speak
}

type phase string

const (
	firmware phase = "firmware" // next is DISCOVER
	asking   phase = "asking"   // next is the script
	loading  phase = "loading"  // next is hello
	holding  phase = "holding"  // its agent polls for orders
	mounting phase = "mounting" // it has its orders
	running  phase = "running"
)

func (x *box) reset() { x.phase, x.token, x.image = firmware, "", images.Ref{} }

// act lets the machine do its next step. It is told wrong at random: fails says so.
func (x *box) act(ctx context.Context, r *roles.Registry, now time.Time, fails bool) error {
	if !x.on {
		return nil
	}
	var o roles.Orders
	var err error
	switch x.phase {
	case firmware:
		x.phase = asking
		r.HostOf(ctx, x.mac, true)
		return r.Observe(ctx, []roles.Sighting{{MAC: x.mac, Time: now, Step: roles.StepDiscover, Boots: true, Facts: facts}})
	case asking:
		t, err := r.Script(ctx, x.mac, facts)
		if err == nil && t.Retry == "" {
			x.phase, x.token = loading, t.Boot.Token
		}
		return err
	case loading:
		o, err = r.Hello(ctx, x.mac, x.token, kernel, 4*time.Second, facts)
	case holding:
		o, err = r.Orders(ctx, x.mac, x.token)
	case mounting:
		ev := roles.Reported{Seq: 1, Step: roles.StepSwitchRoot}
		if x.phase = running; fails {
			x.phase, ev = "hung", roles.Reported{Seq: 1, Step: roles.StepFail, Error: "no space"}
		}
		err = r.Report(ctx, x.mac, x.token, []roles.Reported{ev})
	case running:
		return x.speak(r, now)
	}
	switch {
	case err != nil:
		x.reset() // it is not who it was, or the server is odd: it restarts
	case o.Slot != nil:
		x.phase, x.image = mounting, o.Image.Ref
	case o.Reboot != "":
		x.reset()
	case o.Wait != "":
		x.phase = holding
	}
	return err
}

// speak is the running system's agent.
func (x *box) speak(r *roles.Registry, now time.Time) error {
	n, err := r.Node(x.mac.String())
	if err != nil || x.mute {
		return nil
	}
	if err := r.Authentic(x.mac, x.token); err != nil {
		return nil // what it claimed with is of an earlier boot
	}
	r.NoteAgent(x.mac, now)
	if n.Restart != "" {
		x.reset()
	}
	return nil
}

// serves reports whether its service works with this set of broken versions.
func (x *box) serves(broken map[int]bool) bool {
	return x.on && x.phase == running && !x.dead && !broken[x.image.Version]
}

// outlets is the power of boxes.
type outlets struct {
	boxes []*box
	err   error // of every call
}

func (o *outlets) find(target string) *box {
	for _, x := range o.boxes {
		if x.mac.String() == target {
			return x
		}
	}
	return nil
}

func (o *outlets) On(_ context.Context, target string) error {
	x := o.find(target)
	if o.err == nil && x != nil && !x.on {
		x.on = true
		x.reset()
	}
	return o.err
}

func (o *outlets) Off(_ context.Context, target string) error {
	if x := o.find(target); o.err == nil && x != nil {
		x.on = false
	}
	return o.err
}

func (o *outlets) Status(_ context.Context, target string) (bool, error) {
	x := o.find(target)
	return x != nil && x.on, o.err
}

var errPDU = errors.New("the PDU does not answer")
