package rack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"muster/roles"
)

// Rack is a running virtual rack. Its methods may be called from several goroutines.
type Rack struct {
	name   string
	dir    string
	server netip.Prefix
	accel  Accel
	log    *slog.Logger
	lock   *os.File
	holder *holder
	starts *starter

	closing sync.Once
	// closed ends what serves on the rack's behalf.
	closed chan struct{}

	mu sync.Mutex
	// machines is guarded by mu, in the order in which they were added. nextMAC numbers generated ones.
	machines []*Machine
	nextMAC  int
	done     bool
	// powerless is guarded by mu: see BreakPower.
	powerless bool

	// cutting is held while nftables changes, and guards cuts.
	cutting sync.Mutex
	cuts    cuts
}

// New makes the rack's namespaces and its bridge, and removes what is left of racks whose maker was killed.
// ctx bounds the making only. When New fails nothing is left; the error names every missing tool with its
// Debian package and wraps fs.ErrNotExist, or fs.ErrPermission without root.
func New(ctx context.Context, o Options) (*Rack, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := needRoot(os.Getuid()); err != nil {
		return nil, err
	}
	if err := errors.Join(need(rackTools), needTun("/dev/net/tun")); err != nil {
		return nil, err
	}
	removeStale(o.Dir, o.Log)
	accel, err := o.Accel.resolve(ctx)
	if err != nil {
		return nil, err
	}
	r := &Rack{server: o.Server, accel: accel, log: o.Log, closed: make(chan struct{})}
	if r.name, r.lock, err = makeDir(o.Dir); err != nil {
		return nil, err
	}
	r.dir = filepath.Join(o.Dir, r.name)
	r.starts = newStarter()
	if err := r.make(ctx); err != nil {
		r.Close()
		return nil, err
	}
	r.log.Info("rack made", "rack", r.name, "server", r.server, "accel", r.accel)
	return r, nil
}

// make is the part of New that Close can undo at any point.
func (r *Rack) make(ctx context.Context) (err error) {
	err = r.starts.do(func() (err error) {
		r.holder, err = startHolder(ctx, r.dir, r.name)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.dir, netnsFile), []byte(r.holder.netns), 0o600); err != nil {
		return fmt.Errorf("rack: %w", err)
	}
	return r.makeBridge()
}

// Name is unique among the racks of this machine.
func (r *Rack) Name() string { return r.name }

// Dir is the rack's own directory, the same inside and outside. Close removes it.
func (r *Rack) Dir() string { return r.dir }

// Server is the address of the bridge, where the rack's server listens, with the length of its network.
func (r *Rack) Server() netip.Prefix { return r.server }

// Accel is how the machines execute: AccelTCG or AccelKVM.
func (r *Rack) Accel() Accel { return r.accel }

// Path is the name outside the rack of a file that is called p inside, such as a socket below its private
// /run. It is valid until Close.
func (r *Rack) Path(p string) string {
	return filepath.Join("/proc", fmt.Sprint(r.holder.cmd.Process.Pid), "root", p)
}

// Enter is the command that runs a shell, or any program put behind it, inside the rack: for people.
func (r *Rack) Enter() string {
	return fmt.Sprintf("nsenter --target %d --net --mount", r.holder.cmd.Process.Pid)
}

// Machines lists the machines in the order in which they were added.
func (r *Rack) Machines() []*Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Machine(nil), r.machines...)
}

// Machine finds a machine by its MAC; nil when there is none.
func (r *Rack) Machine(mac roles.MAC) *Machine {
	for _, m := range r.Machines() {
		if m.spec.MAC == mac {
			return m
		}
	}
	return nil
}

// Close switches every machine off, kills what else runs in the rack and removes its namespaces and files.
// Programs that want to stop in good order must be stopped before. Further calls do nothing.
func (r *Rack) Close() error {
	var err error
	r.closing.Do(func() {
		close(r.closed)
		r.mu.Lock()
		r.done = true
		r.mu.Unlock()
		for _, m := range r.Machines() {
			err = errors.Join(err, m.Off(), m.console.file.Close())
		}
		if r.holder != nil {
			err = errors.Join(err, killIn(r.holder.netns, r.holder.cmd.Process.Pid))
			r.holder.close()
		}
		r.starts.close()
		// The holder has removed it already, unless somebody killed the holder.
		err = errors.Join(err, os.RemoveAll(r.dir))
		r.lock.Close()
		r.log.Info("rack closed", "rack", r.name)
	})
	return err
}
