package pair

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/httpboot/agent"
)

const (
	frozenDRBD  = " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n"
	runningDRBD = " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/Outdated C r-----\n"
	withQuorum  = "Quorate:          Yes\n"
	noQuorum    = "Quorate:          No\n"
	notThere    = "Cannot initialize QUORUM service\n"
)

// watched plays a machine to a watchdog: states of DRBD and of the quorum, each for so long. It gives the seconds after
// which it was reset, 0 for never, and whether the kernel's watchdog was left armed.
func watched(t *testing.T, reset error, states ...[2]string) (after int, armed bool) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMachine(t)
		f.file(watchdogFile, "")
		var quorum atomic.Value // a string; the watchdog has a goroutine of its own
		quorum.Store("")
		f.program("corosync-quorumtool", func([]string) (string, error) {
			switch s := quorum.Load().(string); s {
			case "": // it was killed after its time
				return "", &ExitError{Code: -1}
			case notThere:
				return s, &ExitError{Code: 1}
			default:
				return s, nil
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		w := &Watchdog{Root: f.root, System: f, Console: agent.NewConsole(io.Discard, false), Reset: func() error {
			if after == 0 {
				after = int(time.Since(begin).Seconds())
			}
			if reset == nil {
				cancel()
			}
			return reset
		}}
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		for _, s := range states {
			f.file("/proc/drbd", s[0])
			quorum.Store(s[1])
			time.Sleep(25 * time.Second)
			synctest.Wait()
		}
		cancel()
		<-done
		word, err := os.ReadFile(f.root + watchdogFile)
		if err != nil {
			t.Fatal(err)
		}
		armed = len(word) > 0 && word[len(word)-1] != 'V'
	})
	return after, armed
}

func TestWatchdog(t *testing.T) {
	silent := [2]string{frozenDRBD, ""}
	cutOff, fences, serves := [2]string{frozenDRBD, noQuorum}, [2]string{frozenDRBD, withQuorum}, [2]string{runningDRBD, noQuorum}
	for name, tc := range map[string]struct {
		states []([2]string)
		after  int
	}{
		"cut off":                       {[][2]string{cutOff, cutOff}, 32},
		"cut off while it fenced":       {[][2]string{fences, cutOff, cutOff}, 56},
		"back in time":                  {[][2]string{cutOff, serves, cutOff, fences, cutOff}, 0},
		"a lone survivor without qnetd": {[][2]string{serves, serves, serves}, 0},
		"a fencing that cannot be had":  {[][2]string{fences, fences, fences, fences}, 0},
		"no cluster at all":             {[][2]string{{frozenDRBD, notThere}, {frozenDRBD, notThere}}, 32},
		"too busy to say":               {[][2]string{silent, silent, silent, silent, fences}, 0},
		"cut off, and busy":             {[][2]string{cutOff, silent, cutOff}, 52},
		"for ever silent":               {[][2]string{silent, silent, silent, silent, silent, silent, silent}, 150},
		"the idle half":                 {[][2]string{{" 0: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C s-----\n", noQuorum}, {"", noQuorum}}, 0},
	} {
		if after, armed := watched(t, nil, tc.states...); after != tc.after || armed {
			t.Errorf("%s: reset after %d s, want %d; armed %v", name, after, tc.after, armed)
		}
	}
}

// A machine that does not even restart is left to the kernel's watchdog: nothing disarms it until the process ends.
func TestWatchdogThatCannotReset(t *testing.T) {
	cutOff := [2]string{frozenDRBD, noQuorum}
	if after, _ := watched(t, errors.New("no"), cutOff, cutOff, cutOff, cutOff); after != 32 {
		t.Errorf("reset after %d s", after)
	}
}

// One that was killed while it was armed has a successor: the kernel must not reset a machine that is well again.
func TestWatchdogAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMachine(t)
		f.file(watchdogFile, "")
		f.file("/proc/drbd", runningDRBD)
		killed := &Watchdog{Root: f.root, System: f}
		killed.arm()
		if err := killed.device.Close(); err != nil {
			t.Fatal(err)
		}
		w := &Watchdog{Root: f.root, System: f, Console: agent.NewConsole(io.Discard, false)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }() // ends with ctx
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		if got := f.read(watchdogFile); !strings.HasSuffix(got, "V") {
			t.Errorf("the kernel's watchdog heard %q", got)
		}
		f.file(watchdogFile, "")
		cancel()
		<-done
		if got := f.read(watchdogFile); got != "" {
			t.Errorf("once disarmed, it heard %q", got)
		}
	})
}
