package images

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Clean leaves alone what a switch of the current version has just made.
func TestCleanInMidSwitch(t *testing.T) {
	for _, at := range []string{"written: " + historyFile, "link made"} {
		c := versionsOfWeb(t, 2)
		must(t, c.SetCurrent(Ref{"web", 1}))
		came := false
		crashPoint = func(step string) {
			if step == at {
				came = true
				must(t, c.Clean())
			}
		}
		err := c.SetCurrent(Ref{"web", 2})
		crashPoint = func(string) {}
		if img, findErr := c.Find(Ref{Name: "web"}); err != nil || findErr != nil || img.Ref.Version != 2 || !came {
			t.Errorf("Clean at %q (came %t): SetCurrent = %v; current is %s, %v", at, came, err, img.Ref, findErr)
		}
	}
}

// Whoever asks for the current version gets one, though it is removed right after another became current.
func TestFindWhileTheCurrentVersionIsReplacedAndRemoved(t *testing.T) {
	c := versionsOfWeb(t, 120)
	must(t, c.SetCurrent(Ref{"web", 1}))
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !done.Load() && !t.Failed() {
				if _, err := c.Find(Ref{Name: "web"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for v := 2; v <= 120; v++ {
		must(t, c.SetCurrent(Ref{"web", v}))
		must(t, c.Remove(Ref{"web", v - 1}))
	}
	done.Store(true)
	wg.Wait()
}

func TestRollbackOfNothingSaysSo(t *testing.T) {
	c := versionsOfWeb(t, 1)
	if _, err := c.Rollback("mail"); err == nil || !strings.Contains(err.Error(), `no image "mail"`) {
		t.Errorf("Rollback of an image that nobody built: %v", err)
	}
}
