package rack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
)

// consoleKeep is how much of a console stays in memory, in bytes: several boots. The file has everything.
const consoleKeep = 1 << 20

// console records what a machine prints on its serial port.
type console struct {
	mu sync.Mutex
	// All below is guarded by mu. file gets every byte as it comes; text is the same without escape
	// sequences, for reading and matching, and raw with them, for terminals.
	file  *os.File
	strip stripper
	raw   tail
	text  tail
	// start is the offset in text of the latest power-on or reset.
	start int64
	on    bool
	why   error
	// changed is closed, and replaced, whenever something above changes.
	changed chan struct{}
}

func newConsole(path string) (*console, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &console{file: f, changed: make(chan struct{})}, nil
}

// Write records output. It never fails: a full disk must not stop a machine.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file.Write(p)
	c.raw.add(p)
	c.text.add(c.strip.clean(p))
	c.notify()
	return len(p), nil
}

// notify wakes those that wait; the caller holds mu.
func (c *console) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *console) mark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = c.text.end
}

func (c *console) powerOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.why, c.start = true, nil, c.text.end
	c.notify()
}

// powerOff records the end of a run; why is what QEMU complained of, if it did.
func (c *console) powerOff(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.why = false, why
	c.notify()
}

// Console is what the machine printed last, at most a mebibyte, without escape sequences.
func (m *Machine) Console() string {
	c := m.console
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text.buf)
}

// ConsoleFile is the file with everything that the machine printed, as it printed it. It goes with the rack.
func (m *Machine) ConsoleFile() string { return m.console.file.Name() }

// Mark makes WaitConsole look only at what the machine prints from now on, as switching it on does.
func (m *Machine) Mark() { m.console.mark() }

// WaitConsole waits until what the machine printed since it was last switched on, reset or marked matches re, and
// returns the match. Escape sequences are removed before, lines end in \n. It fails when ctx ends and when the
// machine is off; the error quotes the end of the console.
func (m *Machine) WaitConsole(ctx context.Context, re *regexp.Regexp) (string, error) {
	c := m.console
	for {
		c.mu.Lock()
		match := re.Find(c.text.from(c.start))
		found, on, why, changed := string(match), c.on, c.why, c.changed
		c.mu.Unlock()
		if match != nil {
			return found, nil
		}
		if !on {
			return "", m.missed(re, errors.Join(errors.New("the machine is off"), why))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", m.missed(re, context.Cause(ctx))
		}
	}
}

// missed is the error for a text that did not come.
func (m *Machine) missed(re *regexp.Regexp, err error) error {
	return fmt.Errorf("rack: %s did not print %q: %w; its console ends:\n%s", m.spec.Name, re, err, lastLines(m.Console(), 20))
}

// Follow copies the console to w as it comes, escape sequences and all, beginning with what is kept in memory.
// It returns nil when ctx ends or the rack closes, else w's error.
func (m *Machine) Follow(ctx context.Context, w io.Writer) error {
	c := m.console
	for at := int64(0); ; {
		c.mu.Lock()
		chunk := append([]byte(nil), c.raw.from(at)...)
		at = c.raw.end
		changed := c.changed
		c.mu.Unlock()
		if len(chunk) > 0 {
			if _, err := w.Write(chunk); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case <-m.rack.closed:
			return nil
		}
	}
}

// Dump writes the last lines (0 means 40) of every machine's console, for the output of a failed test.
func (r *Rack) Dump(w io.Writer, lines int) {
	if lines == 0 {
		lines = 40
	}
	for _, m := range r.Machines() {
		fmt.Fprintf(w, "--- console of %s (%s, %s, on=%t)\n%s\n", m.spec.Name, m.spec.MAC, m.spec.Firmware, m.Running(), lastLines(m.Console(), lines))
	}
}

// lineKeep is how much of the end of a long line is shown: progress bars have no line ends.
const lineKeep = 240

// lastLines gives the last n lines that are not blank.
func lastLines(s string, n int) string {
	var lines []string
	for l := range strings.Lines(s) {
		if l = strings.TrimRight(l, " \n"); l != "" {
			lines = append(lines, l[max(0, len(l)-lineKeep):])
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
