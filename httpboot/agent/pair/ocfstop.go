package pair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Bounds of a stop. Pacemaker fences a machine that takes longer than the action's own timeout.
const (
	stopLock    = 10 * time.Second
	stopNFSD    = 15 * time.Second
	unmountTime = 5 * time.Second
)

// stop frees everything: the address first, so that nobody is answered by half a server. Each step is done whatever
// became of the ones before it; it succeeds only when the volume is free.
func (a *ResourceAgent) stop(ctx context.Context) error {
	m := &a.machine
	if err := gone(os.Remove(m.path(ServingFile))); err != nil {
		a.say("%v", err)
	}
	unlock, err := m.lock(ctx, stopLock)
	if err != nil {
		a.say("goes on without the lock: %v", err)
		unlock = func() {}
	}
	defer unlock()
	var errs []error
	for _, s := range []step{
		{"address", a.removeAddress},
		{"nfsd", func(ctx context.Context) error { return m.stopNFS(ctx, stopNFSD) }},
		{"helpers", m.stopHelpers},
		{"exports", m.unexport},
		{"exported mounts", func(ctx context.Context) error { return a.unmountBelow(ctx, ExportDir) }},
		{"memory of nfsd", func(ctx context.Context) error { return a.unmountBelow(ctx, "/var/lib/nfs") }},
		{"volume", func(ctx context.Context) error { return a.unmountBelow(ctx, Volume) }},
	} {
		if err := s.do(ctx); err != nil {
			a.say("%s: %v", s.name, err)
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		a.say("%s: down", s.name)
	}
	if nic, err := a.Network.Find(a.Config.Floating.Addr()); err == nil && nic == "" && !m.serving() && a.volumeFree() {
		return nil // what failed on the way did not matter
	}
	return errors.Join(errs...)
}

// volumeFree says that nothing of the volume is mounted anywhere: any of its mounts keeps DRBD from becoming secondary.
func (a *ResourceAgent) volumeFree() bool {
	exported := slices.DeleteFunc(a.machine.below(ExportDir), func(target string) bool { return target == ExportDir })
	return len(exported) == 0 && len(a.machine.below("/var/lib/nfs")) == 0 && len(a.machine.below(Volume)) == 0
}

func (a *ResourceAgent) removeAddress(ctx context.Context) error {
	nic, err := a.Network.Find(a.Config.Floating.Addr())
	if err != nil || nic == "" {
		return err
	}
	return a.Network.RemoveAddress(nic, a.Config.Floating)
}

// unmountBelow unmounts what is mounted on a directory and below it, the latest first. What is in use is tried again
// for a while; then who uses it is killed.
func (a *ResourceAgent) unmountBelow(ctx context.Context, dir string) error {
	m := &a.machine
	killed := false
	for deadline := time.Now().Add(unmountTime); ; {
		left := m.below(dir)
		if len(left) == 0 {
			return nil
		}
		var errs []error
		var busy []string
		for _, target := range slices.Backward(left) {
			if err := m.sys.Unmount(m.path(target)); err != nil {
				errs, busy = append(errs, err), append(busy, m.path(target))
			}
		}
		if len(errs) == 0 {
			continue
		}
		if time.Now().After(deadline) {
			if killed {
				return errors.Join(errs...)
			}
			a.say("%s is in use and who uses it is killed: %s", dir, strings.Join(left, " "))
			m.run(ctx, 5*time.Second, "fuser", append([]string{"-k", "-M", "-m"}, busy...)...) // it says no when nobody is there, and (-M) for what is no mount any more
			killed, deadline = true, time.Now().Add(unmountTime)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
}
