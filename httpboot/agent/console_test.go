package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConsole(t *testing.T) {
	var b strings.Builder
	c := NewConsole(&b, true)
	c.Say("two\nlines")
	c.Fail("%v", errors.New("esc\x1b[2J\u0085é"))
	want := "<13>muster: two\n<13>muster: lines\n<11>muster: esc [2J é\n"
	if b.String() != want {
		t.Errorf("kmsg got %q, want %q", b.String(), want)
	}
	b.Reset()
	NewConsole(&b, false).Say("plain")
	if b.String() != "muster: plain\n" {
		t.Errorf("console got %q", b.String())
	}
}

// A wait shows itself once a minute; another one at once.
func TestRemind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		c := NewConsole(&b, false)
		for i := range 121 {
			c.Remind("wait")
			if i == 70 {
				c.Remind("other")
			}
			time.Sleep(time.Second)
		}
		if got := b.String(); got != "muster: wait\nmuster: wait\nmuster: other\nmuster: wait\n" {
			t.Errorf("shown: %q", got)
		}
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{min: time.Second, max: 30 * time.Second}
	for round := range 2 {
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			want *= time.Second
			if got := b.step(); got < want-want/5 || got > want+want/5 {
				t.Errorf("round %d: pause %d is %v, want about %v", round, i, got, want)
			}
		}
		b.reset()
	}
}
