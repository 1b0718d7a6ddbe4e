package pair

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

// Watchdog ends what nothing else on this machine can: a half that was active when it was cut off. DRBD has frozen its
// volume, so that nothing on it can be stopped or unmounted, and nobody can fence it. After FrozenTime the machine is
// reset; it loses nothing, since what is frozen was not acknowledged to anybody. The other half does not count on it:
// it goes on only when it has fenced this one.
//
// (sbd without a disk would do more: it resets every machine that had the quorum and loses it. A lone survivor loses it
// whenever the boot server restarts.)
type Watchdog struct {
	// Root is put before every path; empty on a real machine.
	Root string
	// System runs programs. Required.
	System System
	// Reset restarts the machine at once, without writing anything back. Required.
	Reset func() error
	// Console takes what it says. Required.
	Console *agent.Console

	device *os.File // while the volume is frozen, else nil
}

const (
	// FrozenTime is how long a half that has neither its volume nor the quorum waits for the network: as long as a
	// switch may take that somebody restarts by mistake, and less than people do.
	FrozenTime = 30 * time.Second
	// SilentTime is how long it bears with a Corosync that does not say whether this side has the quorum, as on a machine
	// that is too busy: one that fences the other half is not to be reset over it.
	SilentTime = 2 * time.Minute
	// watchEvery is the time between two looks, and between two words to the kernel's watchdog.
	watchEvery = 2 * time.Second
	// watchdogFile is the kernel's: when it hears nothing for deviceTime, it resets the machine by itself.
	watchdogFile = "/dev/watchdog"
	deviceTime   = 60
	// armedFile is there while the kernel counts: who comes after a process that was killed has to go on.
	armedFile = RunDir + "/armed"
)

// Run watches until ctx ends. It does not touch the volume, whose reads and writes hang.
func (w *Watchdog) Run(ctx context.Context) {
	m := machine{root: w.Root, sys: w.System}
	if m.flag(armedFile) {
		w.arm()
	}
	defer w.disarm()
	var since time.Time // when it was frozen and without a quorum; zero when it is not
	heard := time.Now() // when Corosync spoke last
	for pause(ctx, watchEvery) == nil {
		d := m.drbd()
		if !d.frozen || d.role != "Primary" {
			since, heard = w.free(since), time.Now()
			continue
		}
		w.arm()
		quorate, known := m.quorate(ctx)
		if known {
			heard = time.Now()
		} else if time.Since(heard) < SilentTime {
			continue
		}
		if quorate { // its own fencing is under way, and may wait for a boot server
			since = w.free(since)
			continue
		}
		if since.IsZero() {
			since = time.Now()
			w.Console.Fail("storage pair: cut off: the volume is frozen, and this side may not act; this machine is reset in %s", FrozenTime)
		}
		if time.Since(since) < FrozenTime {
			continue
		}
		w.Console.Fail("storage pair: still cut off: reset")
		if err := w.Reset(); err != nil {
			w.Console.Fail("storage pair: reset: %v; the kernel's watchdog does it", err)
			<-ctx.Done() // and hears nothing more
			return
		}
	}
}

// free takes back what arm did.
func (w *Watchdog) free(since time.Time) time.Time {
	w.disarm()
	if !since.IsZero() {
		w.Console.Say("storage pair: no longer cut off")
	}
	return time.Time{}
}

// arm makes the kernel reset the machine if this process cannot, and tells it that it can. A machine without the device
// has this process alone.
func (w *Watchdog) arm() {
	if w.device == nil {
		f, err := os.OpenFile(w.Root+watchdogFile, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		w.device = f
		m := machine{root: w.Root}
		_ = m.write(armedFile, nil, 0o600)                                          // only a help for a successor
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, deviceTime) // else it has a time of its own
	}
	_, _ = w.device.Write([]byte{0}) // an error is as good as silence
}

// disarm tells the kernel that all is well: "V" is the word for that.
func (w *Watchdog) disarm() {
	if w.device != nil {
		_, _ = w.device.Write([]byte("V"))
		w.device.Close()
		w.device = nil
		m := machine{root: w.Root}
		_ = m.remove(armedFile)
	}
}

// quorate says that this side has the quorum; known is false where Corosync did not answer in time. Where it does not run
// there is none.
func (m *machine) quorate(ctx context.Context) (quorate, known bool) {
	out, err := m.run(ctx, 10*time.Second, "corosync-quorumtool", "-s")
	exit, ended := errors.AsType[*ExitError](err)
	return parseQuorum(out).quorate, strings.Contains(out, "Quorate:") || ended && exit.Code >= 0
}

// resetMachine is reboot(2) without sync(2), which would hang on a frozen volume.
func resetMachine() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }
