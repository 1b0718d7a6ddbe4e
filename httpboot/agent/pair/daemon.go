package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"muster/httpboot/agent"
)

// Server is how a half talks to the boot servers: agent.Caller.
type Server interface {
	Call(ctx context.Context, timeout time.Duration, op string, in, out any) error
}

// Store is where images come from: agent.Fetcher.
type Store interface {
	Fetch(ctx context.Context, ref string, from agent.RAMRoot, file *os.File) error
}

// Daemon is the half's own service. It reports what is and makes so what the boot server orders; a boot server that is
// away changes nothing in what runs.
type Daemon struct {
	// Config is the pair's. Required.
	Config Config
	// Root is put before every path; empty on a real machine.
	Root string
	// System and Network are the machine. Required: Linux and LinuxNetwork on a real one.
	System  System
	Network Network
	// Server and Store are the boot servers. Required.
	Server Server
	Store  Store
	// Console takes what it says. Required.
	Console *agent.Console

	machine machine
	began   time.Time
	orders  Orders // the last ones that came; the loop's own
	heard   bool   // a server has answered, ever; the loop's own
	seen    seen
	// activeFrom is when this half became active, as the loop saw it.
	activeFrom time.Time
	last       map[string]time.Time // when something rare was last done (see rare)

	mu sync.Mutex
	// failed are the sentences of what does not work now, by topic. Guarded by mu.
	failed map[string]string
	// report is the last one. Guarded by mu.
	report Report
	// contents are what the active half is to have, made what it has. Guarded by mu.
	contents Contents
	made     made
	cluster  clusterSeen // guarded by mu
	// split says that DRBD has found both sides written. Guarded by mu.
	split bool
	// copying is the backup or restore that runs.
	copying copying

	wake chan struct{} // one word at most: look again at once
	fill chan struct{} // one word at most: contents may have changed
}

// every is the time between two reports, glanceEvery that between two looks whether this half serves.
const (
	every       = 2 * time.Second
	glanceEvery = 250 * time.Millisecond
)

// callTime is for a short word to one boot server.
const callTime = 5 * time.Second

// Run works until ctx ends, which is its only clean end.
func (d *Daemon) Run(ctx context.Context) error {
	d.prepare()
	if err := os.MkdirAll(d.machine.path(RunDir), 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	d.fail("snapshot", d.machine.dropSnapshot(ctx)) // of a daemon that was killed
	var jobs sync.WaitGroup
	defer jobs.Wait()
	defer d.endCopies()
	jobs.Go(func() { d.keepContents(ctx) }) // these two end with ctx
	jobs.Go(func() { d.watchCluster(ctx) })
	acting := make(chan struct{}, 1) // holds a word while somebody acts
	for {
		d.turn(ctx, acting, &jobs)
		if d.wait(ctx) != nil {
			return nil
		}
	}
}

// wait waits for the next turn: for its time, for something that was done, or for a takeover, which the boot server is
// to hear of at once.
func (d *Daemon) wait(ctx context.Context) error {
	begin, serving := time.Now(), d.machine.flag(ServingFile)
	t := time.NewTicker(glanceEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.wake:
			return nil
		case <-t.C:
		}
		if time.Since(begin) >= every || d.machine.flag(ServingFile) != serving {
			return nil
		}
	}
}

func (d *Daemon) prepare() {
	d.machine, d.began = machine{d.Root, d.System, d.Network}, time.Now()
	d.failed = map[string]string{}
	d.wake, d.fill = make(chan struct{}, 1), make(chan struct{}, 1)
}

// turn looks, reports, and has the orders followed. What takes long does not keep the next report back: the boot
// server takes a silent half for dead.
func (d *Daemon) turn(ctx context.Context, acting chan struct{}, jobs *sync.WaitGroup) {
	select {
	case acting <- struct{}{}:
	default:
		d.mu.Lock()
		r := d.report
		d.mu.Unlock()
		d.tell(ctx, d.glance(r))
		return
	}
	before, r := d.orders, d.look(ctx)
	if !d.tell(ctx, r) {
		<-acting
		return
	}
	o := d.orders
	another := o.Rule != before.Rule || o.Known != before.Known || o.Make != before.Make || o.Erase != before.Erase
	jobs.Go(func() { // ends with its programs, which have their times
		done := d.follow(ctx, o, r)
		<-acting
		if done || another {
			signal(d.wake)
		}
	})
}

// tell reports and takes the orders. It says whether there are any.
func (d *Daemon) tell(ctx context.Context, r Report) bool {
	d.mu.Lock()
	d.report = r
	d.mu.Unlock()
	d.announceAgain(r.Active)
	var o Orders
	if err := d.Server.Call(ctx, callTime, OpReport, r, &o); err != nil {
		if ctx.Err() == nil {
			d.fail("server", fmt.Errorf("no orders: %w", err))
		}
		return false
	}
	d.fail("server", nil)
	if o.Wait != "" && o.Wait != d.orders.Wait {
		d.Console.Say("storage pair: %s", o.Wait)
	}
	d.orders, d.heard = o, true
	d.copyAs(ctx, o.Copy)
	if o.Contents.Revision != "" {
		d.mu.Lock()
		d.contents = o.Contents
		d.mu.Unlock()
	}
	signal(d.fill)
	return true
}

// fail notes what is wrong with a topic, or with nil that it is well; it says so when that changes.
func (d *Daemon) fail(topic string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if d.failed[topic] == text {
		return
	}
	if text == "" {
		d.Console.Say("storage pair: %s: well again", topic)
		delete(d.failed, topic)
		return
	}
	d.Console.Fail("storage pair: %s: %s", topic, text)
	d.failed[topic] = text
}

// errors gives what is wrong, for the report.
func (d *Daemon) errors() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for topic, text := range d.failed {
		if topic != "server" { // who hears this is there
			out = append(out, topic+": "+text)
		}
	}
	slices.Sort(out)
	return out
}

// signal leaves a word, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// token reads a value that was acted on already; acted writes it. They outlive the daemon, and not the boot.
func (d *Daemon) token(name string) string { return d.machine.word(RunDir + "/" + name) }

func (d *Daemon) acted(name, value string) error {
	return d.machine.write(RunDir+"/"+name, []byte(value+"\n"), 0o600)
}

// gone says that a file is not there, as good as removed.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
