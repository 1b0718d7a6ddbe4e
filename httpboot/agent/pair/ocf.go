package pair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Exit codes of a resource agent (OCF Resource Agent API 1.1, §Exit status codes).
const (
	ocfSuccess       = 0
	ocfGeneric       = 1
	ocfUnimplemented = 3
	ocfConfigured    = 6
	ocfNotRunning    = 7
)

// ResourceAgent is that of Pacemaker: it serves the volume on this machine, or stops to. It depends on the
// volume and on Config alone: the boot server may be away.
type ResourceAgent struct {
	// Config is the pair's. Required for start, stop and monitor.
	Config Config
	// Root is put before every path; empty on a real machine.
	Root string
	// System and Network are the machine. Required.
	System  System
	Network Network
	// Log takes a line with its time for each step. Required.
	Log io.Writer

	machine machine
	begin   time.Time
}

// Do carries out an action and gives its exit code. Start and stop may be repeated.
func (a *ResourceAgent) Do(ctx context.Context, action string) int {
	a.machine, a.begin = machine{a.Root, a.System, a.Network}, time.Now()
	switch action {
	case "start":
		return a.code(a.start(ctx))
	case "stop":
		return a.code(a.stop(ctx))
	case "monitor", "status":
		return a.monitor()
	case "validate-all":
		return ocfSuccess // Config was read
	}
	fmt.Fprintf(a.Log, "storage: there is no action %q\n", action)
	return ocfUnimplemented
}

func (a *ResourceAgent) code(err error) int {
	if err != nil {
		a.say("failed: %v", err)
		return ocfGeneric
	}
	return ocfSuccess
}

func (a *ResourceAgent) say(format string, args ...any) {
	fmt.Fprintf(a.Log, "storage: %5d ms: %s\n", time.Since(a.begin).Milliseconds(), fmt.Sprintf(format, args...))
}

// step is one of start's or stop's.
type step struct {
	name string
	do   func(context.Context) error
}

// start brings everything up, the address last: who reaches it is served.
func (a *ResourceAgent) start(ctx context.Context) error {
	m := &a.machine
	unlock, err := m.lock(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	defer unlock()
	for _, s := range []step{
		{"file systems of nfsd", m.nfsMounts},
		{"volume", a.mountVolume},
		{"memory of nfsd", a.bindMemory},
		{"helpers", m.startHelpers},
		{"exports", a.export},
		{"nfsd", m.startNFS},
		{"address", a.addAddress},
	} {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		a.say("%s: up", s.name)
	}
	return m.write(ServingFile, nil, 0o600)
}

// mountVolume mounts the volume, and notes on it that it was.
func (a *ResourceAgent) mountVolume(ctx context.Context) error {
	m := &a.machine
	if on, ok := m.mounted(Volume); ok {
		if on.source != Device && on.source != m.path(Device) {
			return fmt.Errorf("pair: %s is mounted on %s", on.source, Volume)
		}
		return nil
	}
	if err := m.mountVolume(ctx); err != nil {
		return err
	}
	if m.flag(servedFile) {
		return nil
	}
	return m.write(servedFile, nil, 0o600)
}

// bindMemory puts what nfsd knows of its clients, which is on the volume, where its programs look for it. A helper that
// runs already would have the wrong files open.
func (a *ResourceAgent) bindMemory(ctx context.Context) error {
	m := &a.machine
	if _, ok := m.mounted("/var/lib/nfs"); ok {
		return nil
	}
	if err := m.stopHelpers(ctx); err != nil {
		return err
	}
	for _, dir := range []string{nfsDir + "/nfsdcld", "/var/lib/nfs"} {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
	}
	dir, err := os.Open(m.path(nfsDir))
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	defer dir.Close()
	return m.sys.Bind(dir, m.path("/var/lib/nfs"))
}

// export offers what the volume had last. What can't be offered is said, and does not keep the rest back.
func (a *ResourceAgent) export(ctx context.Context) error {
	m := &a.machine
	os.Remove(m.path(RunDir + "/exported")) // exportfs has not seen this volume yet
	c, err := m.kept()
	if err != nil {
		a.say("contents: %v", err)
	}
	images, aside, err := m.export(ctx, c)
	if err := errors.Join(err, aside); err != nil {
		a.say("exports: %v", err)
	}
	if !m.flag(RunDir + "/exported") {
		return err
	}
	a.say("images offered: %v", images)
	return nil
}

func (a *ResourceAgent) addAddress(ctx context.Context) error {
	nic, err := a.Network.Find(a.Config.Address)
	if err == nil && nic == "" {
		err = fmt.Errorf("pair: no interface has %v, this machine's own address", a.Config.Address)
	}
	if err != nil {
		return err
	}
	if err := a.Network.AddAddress(nic, a.Config.Floating); err != nil {
		return fmt.Errorf("pair: %v: %w", a.Config.Floating, err)
	}
	return announce(ctx, a.Network, nic, a.Config, 3)
}

// announce tells the segment where the floating address is now, several times: a frame may be lost, and a client that
// has not heard it talks to a dead machine. The daemon goes on with it.
func announce(ctx context.Context, n Network, nic string, c Config, times int) error {
	var err error
	for i := range times {
		if i > 0 && pause(ctx, 50*time.Millisecond) != nil {
			return ctx.Err()
		}
		err = n.Announce(nic, c.Floating.Addr())
	}
	return err
}

// monitor looks without starting a program and without touching the volume, which may be frozen for a while: that is
// no fault of this machine.
func (a *ResourceAgent) monitor() int {
	m := &a.machine
	on, mounted := m.mounted(Volume)
	nic, err := a.Network.Find(a.Config.Floating.Addr())
	if err != nil {
		return a.code(err)
	}
	if !mounted && nic == "" {
		return ocfNotRunning
	}
	missing := ""
	switch {
	case !mounted:
		missing = "the volume is not mounted"
	case on.readOnly:
		missing = "the volume is read-only, after an error of its file system"
	case !m.serving():
		missing = "nfsd does not run"
	case nic == "":
		missing = fmt.Sprintf("the address %v is not here", a.Config.Floating)
	}
	for _, h := range helpers {
		if missing == "" && len(m.processes(h.name)) == 0 {
			missing = h.name + " does not run"
		}
	}
	if missing != "" {
		a.say("monitor: %s", missing)
		return ocfGeneric
	}
	return ocfSuccess
}
