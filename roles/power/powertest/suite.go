// Package powertest is the suite that every power driver passes which can switch on, off, and tell the state.
// It deliberately knows nothing of how a driver does it.
package powertest

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"

	"muster/roles"
)

// patience is how long a driver may take to make a change visible. Real machines take seconds.
const patience = time.Minute

// Rig is a driver with a machine to switch.
type Rig struct {
	// Driver is tested. Required.
	Driver roles.Driver
	// Target is a machine that is off and that nobody else switches. Required.
	Target string
	// Other is a second one, which must not be touched by what happens to Target. Empty leaves that out.
	Other string
	// Unknown is a well-formed target of no machine. Empty leaves that out, for drivers that cannot tell.
	Unknown string
	// IsOn looks at the machine itself, past the driver. Nil trusts Status.
	IsOn func(target string) bool
}

// Run tests the driver of a fresh rig for every part.
func Run(t *testing.T, rig func(t *testing.T) Rig) {
	for _, part := range []struct {
		name string
		test func(*testing.T, Rig)
	}{
		{"Cycle", cycle},
		{"Repeated", repeated},
		{"Others", others},
		{"Unknown", unknown},
		{"Invalid", invalid},
		{"Cancelled", cancelled},
		{"Concurrent", concurrent},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, rig(t)) })
	}
}

// cycle: off, on, off, on, seen by Status and by the machine itself.
func cycle(t *testing.T, r Rig) {
	r.want(t, r.Target, false)
	for range 2 {
		r.on(t)
		r.want(t, r.Target, true)
		r.off(t)
		r.want(t, r.Target, false)
	}
}

// repeated: a machine that is on stays so, and so does one that is off.
func repeated(t *testing.T, r Rig) {
	r.off(t)
	r.want(t, r.Target, false)
	r.on(t)
	r.on(t)
	r.want(t, r.Target, true)
	r.off(t)
	r.off(t)
	r.want(t, r.Target, false)
}

// others: switching one machine leaves the next one alone.
func others(t *testing.T, r Rig) {
	if r.Other == "" {
		return
	}
	r.on(t)
	r.want(t, r.Target, true)
	r.want(t, r.Other, false)
}

// unknown: a machine that is not there does not exist, for every method.
func unknown(t *testing.T, r Rig) {
	if r.Unknown == "" {
		return
	}
	wrap(t, r, r.Unknown, fs.ErrNotExist)
}

// invalid: no target at all is a bad request.
func invalid(t *testing.T, r Rig) { wrap(t, r, "", fs.ErrInvalid) }

// wrap checks that every method's error for target wraps kind.
func wrap(t *testing.T, r Rig, target string, kind error) {
	t.Helper()
	ctx := t.Context()
	_, statusErr := r.Driver.Status(ctx, target)
	for name, err := range map[string]error{
		"On": r.Driver.On(ctx, target), "Off": r.Driver.Off(ctx, target), "Status": statusErr,
	} {
		if !errors.Is(err, kind) {
			t.Errorf("%s(%q) = %v, want an error that wraps %q", name, target, err, kind)
		}
	}
}

// cancelled: nothing happens for a caller that has gone.
func cancelled(t *testing.T, r Rig) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Driver.On(ctx, r.Target); !errors.Is(err, context.Canceled) {
		t.Errorf("On with a cancelled context = %v, want context.Canceled", err)
	}
	r.want(t, r.Target, false)
}

// concurrent: many callers at once all get an answer, and the last word counts.
func concurrent(t *testing.T, r Rig) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := r.Driver.On(t.Context(), r.Target); err != nil {
				t.Errorf("On = %v", err)
			}
			if _, err := r.Driver.Status(t.Context(), r.Target); err != nil {
				t.Errorf("Status = %v", err)
			}
		})
	}
	wg.Wait()
	r.want(t, r.Target, true)
	r.off(t)
	r.want(t, r.Target, false)
}

func (r Rig) on(t *testing.T) {
	t.Helper()
	if err := r.Driver.On(t.Context(), r.Target); err != nil {
		t.Fatalf("On = %v", err)
	}
}

func (r Rig) off(t *testing.T) {
	t.Helper()
	if err := r.Driver.Off(t.Context(), r.Target); err != nil {
		t.Fatalf("Off = %v", err)
	}
}

// want waits until Status, and the machine itself, say what they should.
func (r Rig) want(t *testing.T, target string, on bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, err := r.Driver.Status(t.Context(), target)
		if err != nil {
			t.Fatalf("Status(%q) = %v", target, err)
		}
		if got == on && (r.IsOn == nil || r.IsOn(target) == on) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("machine %q is on: Status says %v, want %v", target, got, on)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
