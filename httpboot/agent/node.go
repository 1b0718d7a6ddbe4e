package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"
)

// Units is what the running system's agent does to it. Systemd is the real one; tests record.
type Units interface {
	// Reload makes a unit read its files again, or restarts it where it cannot; one that does not run is left
	// alone.
	Reload(ctx context.Context, unit string) error
	// Restart restarts the machine in good order. It returns when that has been asked for.
	Restart(ctx context.Context) error
	// Reset restarts the machine at once. What the kernel has still to write is not lost, unless its volume is away.
	Reset() error
}

// Node is the agent of a running system: it keeps a long poll with a boot server, over TLS that is pinned, and
// does what that orders. Files that the server lists no more are left where they are: nobody knows what was
// there before.
type Node struct {
	// Root is put before every path that it touches; empty on a real machine.
	Root string
	// Units is the system's service manager. Required.
	Units Units
	// Console takes what it says. Required.
	Console *Console
	// HTTPS talks to the boot servers; nil means one that takes the session's pin and no other.
	HTTPS *http.Client

	session Session
	client  *client
	volume  func(dir *os.File) (bool, error) // see writer; nil is the kernel's word
	// errors are those that no server has heard of yet.
	errors []string
	// alone says that no server answers, or that it refuses the session.
	alone bool
}

// Pauses between two tries of a running node.
const (
	nodeRetryMax = time.Minute
	// refusedPause is for a server that does not know the session: the machine was booted anew, and this is
	// what is left of the boot before; or the server has lost its memory, and finds it again in a backup.
	refusedPause = 10 * time.Minute
	// restartTime is how long a restart in good order may take to begin: systemd's own patience with a unit.
	restartTime = 90 * time.Second
	// errorsMax bounds what is told at once.
	errorsMax = 50
)

// Run reads the session and then asks the servers for orders until ctx ends, which is its only clean end; the
// error wraps fs.ErrNotExist or fs.ErrInvalid when there is no session. Whatever else goes wrong is tried
// again for ever.
func (n *Node) Run(ctx context.Context) error {
	var err error
	if n.session, err = readSession(n.Root); err != nil {
		return err
	}
	if n.HTTPS == nil {
		n.HTTPS = secureClient(n.session.Pin)
	}
	n.client = &client{http: n.HTTPS, servers: n.session.Servers}
	failed := backoff{min: time.Second, max: nodeRetryMax}
	refused := backoff{min: refusedPause, max: refusedPause}
	for {
		asked := time.Now()
		orders, err := n.ask(ctx)
		pause := max(0, pollEvery-time.Since(asked)) // a server that answers at once is not asked at once
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, fs.ErrPermission):
			pause = refused.step()
			n.lost(fmt.Errorf("this node's session is refused: %w", err))
		case err != nil:
			pause = failed.step()
			n.lost(fmt.Errorf("no boot server: %w", err))
		default:
			n.lost(nil)
			if !n.follow(ctx, orders) {
				pause = failed.step()
			} else {
				failed.reset()
			}
		}
		if sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// lost says that there are no orders, and why, once; and with nil that there are again. A journal must not fill
// while a server is away.
func (n *Node) lost(err error) {
	switch {
	case err != nil && !n.alone:
		n.Console.Fail("%v; asked again from time to time", err)
	case err == nil && n.alone:
		n.Console.Say("%s answers again", n.client.server())
	}
	n.alone = err != nil
}

// ask presents the node and waits for orders.
func (n *Node) ask(ctx context.Context) (NodeOrders, error) {
	var orders NodeOrders
	p := Present{MAC: n.session.MAC, Key: n.session.Key, Revision: n.session.Revision, Errors: n.errors}
	err := n.client.call(ctx, PollHold+callTimeout, PathNode, p, &orders)
	if err == nil {
		n.errors = nil
	}
	return orders, err
}

// follow carries orders out. It reports whether all files are as they should be: if not, the same orders come
// again.
func (n *Node) follow(ctx context.Context, o NodeOrders) bool {
	done := true
	if o.Revision != "" && o.Revision != n.session.Revision {
		done = n.sync(ctx, o)
	}
	if o.Restart != "" {
		n.restart(ctx, o.Restart)
	}
	return done
}

// sync writes the files that changed and reloads their units; those of all files where an agent before this one
// ended in the midst of that.
func (n *Node) sync(ctx context.Context, o NodeOrders) bool {
	if err := checkFiles(o.Files); err != nil {
		n.fail("revision %s: %v", o.Revision, err)
		return false
	}
	w := newWriter(n.Root+"/", n.volume)
	w.changed = true
	again := n.session.Begun
	n.keep(func(s *Session) { s.Begun = true })
	var units []string
	wrote, done := 0, true
	for _, f := range o.Files {
		w.ram = f.Secret
		changed, err := w.write(f)
		if err != nil {
			n.fail("%v", err)
			done = false
			continue
		}
		if changed {
			wrote++
			n.Console.Say("%s has changed", f.Path)
		} else if !again {
			continue
		}
		for _, u := range f.Reload {
			if !slices.Contains(units, u) {
				units = append(units, u)
			}
		}
	}
	for _, u := range units {
		if err := n.Units.Reload(ctx, u); err != nil {
			n.fail("reload %s: %v", u, err)
		}
	}
	if ctx.Err() != nil {
		return false
	}
	n.keep(func(s *Session) {
		if s.Begun = false; done {
			s.Revision = o.Revision
		}
	})
	n.Console.Say("revision %s: %d of %d files written", o.Revision, wrote, len(o.Files))
	return done
}

// keep changes the session, for the next agent too.
func (n *Node) keep(change func(*Session)) {
	change(&n.session)
	if err := n.session.save(n.Root); err != nil {
		n.fail("session: %v", err)
	}
}

// fail keeps an error for the next word to a server.
func (n *Node) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.Console.Fail("%s", text)
	if len(n.errors) < errorsMax && !slices.Contains(n.errors, text) {
		n.errors = append(n.errors, text)
	}
}

// restart restarts the machine: in good order, or by force where that does not even begin. It returns only with
// ctx's end, which is what a restart in good order is to this service, or when nothing helps.
func (n *Node) restart(ctx context.Context, why string) {
	n.Console.Say("the boot server restarts this machine: %s", why)
	ordered, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	err := n.Units.Restart(ordered)
	if err == nil {
		<-ordered.Done()
		err = fmt.Errorf("it has not begun within %s", restartTime)
	}
	if ctx.Err() != nil {
		return
	}
	n.Console.Fail("restart in good order: %v; restart by force", err)
	if err := n.Units.Reset(); err != nil {
		n.fail("restart: %v", err)
	}
}
