package agent

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Console is the machine's screen. Lines go to the kernel's log (/dev/kmsg) where there is one: from there
// they reach every console, screen and serial line alike (/dev/console is only the last of them), and stay
// readable in the image's journal after the hand-over. A Console may be used by several goroutines.
type Console struct {
	mu   sync.Mutex
	w    io.Writer
	kmsg bool
	// said holds when a reminder's text was last shown.
	said map[string]time.Time
}

// reminder is the least time between two showings of the same wait: a machine that waits overnight must
// look alive and not fill its log.
const reminder = time.Minute

// NewConsole writes to w; kmsg says that w is /dev/kmsg and takes a priority before each line.
func NewConsole(w io.Writer, kmsg bool) *Console {
	return &Console{w: w, kmsg: kmsg, said: map[string]time.Time{}}
}

// Priorities of <syslog.h> with facility user: they decide what a console shows.
const (
	prioErr    = 1<<3 | 3
	prioNotice = 1<<3 | 5
)

// Say shows one line.
func (c *Console) Say(format string, args ...any) { c.print(prioNotice, fmt.Sprintf(format, args...)) }

// Fail shows one line that says what went wrong.
func (c *Console) Fail(format string, args ...any) { c.print(prioErr, fmt.Sprintf(format, args...)) }

// Remind shows a line like Say, but the same text at most once a minute.
func (c *Console) Remind(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	last, ok := c.said[text]
	fresh := ok && time.Since(last) < reminder
	if !fresh {
		if len(c.said) > 100 { // texts with numbers in them must not grow the map for ever
			clear(c.said)
		}
		c.said[text] = time.Now()
	}
	c.mu.Unlock()
	if !fresh {
		c.print(prioNotice, text)
	}
}

func (c *Console) print(prio int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(text) {
		// What comes over the network is shown to people: no escape sequences.
		line = strings.Map(printable, strings.TrimRight(line, "\r\n"))
		if c.kmsg {
			// One write is one record, cut at some 900 bytes by the kernel.
			fmt.Fprintf(c.w, "<%d>muster: %.900s\n", prio, line)
			continue
		}
		fmt.Fprintf(c.w, "muster: %s\n", line)
	}
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
		return ' '
	}
	return r
}
