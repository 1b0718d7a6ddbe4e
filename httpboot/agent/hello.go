package agent

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"time"
)

// refusals is how many times in a row the servers may refuse this boot's token before the machine
// restarts to get a new one: the boot was forgotten, or another machine with this MAC has started.
const refusals = 8

// hello says hello until a server answers, then waits until there is a spec. It ends only with that, with
// a restart that the server wants, or with ctx.
func (a *Agent) hello(ctx context.Context) (*Spec, error) {
	b := backoff{min: time.Second, max: 30 * time.Second}
	greeted, refused := false, 0
	if err := a.allDrivers(ctx); err != nil {
		return nil, err
	}
	for {
		asked := time.Now()
		reply, err := a.ask(ctx, greeted)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			if refused++; !errors.Is(err, fs.ErrPermission) {
				refused = 0
			}
			if refused == refusals {
				return nil, &errReboot{"no boot server takes this boot's token: " + err.Error()}
			}
			// A server that lost its memory knows the machine again after a hello.
			var no *refusal
			greeted = greeted && !errors.As(err, &no)
			d := b.step()
			a.Console.Fail("no boot server: %v; again in %s", err, rounded(d))
			if err := sleep(ctx, d); err != nil {
				return nil, err
			}
			continue
		}
		b.reset()
		refused = 0
		first := !greeted
		if first {
			greeted = true
			a.note("hello", "%s answers", a.client.server())
		}
		switch {
		case reply.Spec != nil:
			a.Console.Say("boot spec: %s as %s", reply.Spec.Image, reply.Spec.Hostname)
			return reply.Spec, nil
		case reply.Reboot != "":
			return nil, &errReboot{reply.Reboot}
		}
		if reply.Wait == "" {
			reply.Wait = "the boot server has no work for this machine yet"
		}
		a.Console.Remind("waiting: %s", reply.Wait)
		a.preload(likelyModules(a.params))
		if first {
			continue // the first poll follows hello at once
		}
		// A server that answers a poll at once must not be asked a thousand times a second.
		if err := sleep(ctx, max(0, pollEvery-time.Since(asked))); err != nil {
			return nil, err
		}
	}
}

// allDrivers waits until every device has its driver, since the inventory has the disks. A controller that is ill
// may take minutes: the screen says so, and the server as soon as it may.
func (a *Agent) allDrivers(ctx context.Context) error {
	stop := a.remind(ctx, "hello", "a driver has not finished with its device yet; the kernel's lines above may say which")
	defer stop()
	select {
	case <-a.drivers:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pollEvery is the least time between two polls.
const pollEvery = time.Second

// ask sends hello, or once that is done a poll.
func (a *Agent) ask(ctx context.Context, greeted bool) (Reply, error) {
	var reply Reply
	if greeted {
		err := a.client.call(ctx, PollHold+callTimeout, PathSpec, Poll{a.params.MAC, a.params.Token}, &reply)
		return reply, err
	}
	h := Hello{
		MAC: a.params.MAC, Token: a.params.Token, Kernel: a.System.Kernel(), Uptime: a.uptime(),
		Inventory: readInventory(a.Root),
	}
	err := a.client.call(ctx, callTimeout, PathHello, h, &reply)
	return reply, err
}

// refresh asks once for the spec of a boot that failed with old. No server: old it is. A server that now
// has something else in mind is followed.
func (a *Agent) refresh(ctx context.Context, old *Spec) (*Spec, error) {
	reply, err := a.ask(ctx, true)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	switch {
	case err != nil:
		a.Console.Fail("no boot server: %v; the boot goes on with the spec of before", err)
		return old, nil
	case reply.Reboot != "":
		return nil, &errReboot{reply.Reboot}
	case reply.Spec == nil: // released meanwhile
		a.Console.Say("the boot server took the spec back")
		return a.hello(ctx)
	}
	if !sameSpec(old, reply.Spec) {
		a.Console.Say("new boot spec: %s as %s", reply.Spec.Image, reply.Spec.Hostname)
	}
	return reply.Spec, nil
}

// sameSpec compares all but the time.
func sameSpec(x, y *Spec) bool {
	a, b := *x, *y
	a.Now, b.Now = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}
