package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/cmd/muster/serve"
	"muster/dhcpd/trace"
	"muster/images"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/declare"
	"muster/roles/state"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// TestScripts runs the command line in testdata/script against a real server over a real registry. A script
// has these commands besides testscript's own:
//
//	muster ARGS        the program; "! muster" when it fails
//	code N             the exit code of the last one
//	declare FILE       apply a declaration behind the program's back
//	boot MAC           a machine boots from power-on to switch-root, 10 s
//	boot-fails MAC     the same, but its agent gives up
//	healthy            the health checks pass once
//	later DURATION     the clock moves
//	machines [IMAGE]   from here on machines restart when they are asked to, their agents fetch files, and health
//	                   checks are made; they fail with IMAGE
//	agents             the agents of all nodes that serve have spoken
//	busybox FILE       copy busybox there
//	pair FILE          the one storage pair is from here on what the JSON of a roles.PairView says
//	half MAC FILE      a storage machine reports the JSON of a roles.Half
//	made MAC           it reports that the new pair has its file system
//	catalog            images are real from here on, in $WORK/data/images; a build copies $WORK/seed
//	lease ADDRESS MAC DURATION [NAME]  DHCP has lent an address; the MAC declined is nobody's
//	packets MAC        a machine boots as soon as somebody watches, and another one beside it
//	serve              a server runs from here on
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Condition:     func(cond string) (bool, error) { return cond == "root" && os.Getuid() == 0, nil },
		Setup: func(env *testscript.Env) error {
			w := newWorld(filepath.Join(env.WorkDir, "sock"))
			w.dir = env.WorkDir
			env.Values[worldKey{}] = w
			env.Setenv("MUSTER_SOCKET", w.socket)
			env.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"muster": runMuster,
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				if w := worldOf(ts); strconv.Itoa(w.code) != args[0] {
					ts.Fatalf("exit code %d, want %s", w.code, args[0])
				}
			},
			"agents":  func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(worldOf(ts).spoken()) },
			"busybox": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(copyBusybox(ts.MkAbs(args[0]))) },
			"catalog": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(worldOf(ts).catalog()) },
			"machines": func(ts *testscript.TestScript, _ bool, args []string) {
				worldOf(ts).machines(strings.Join(args, ""))
			},
			"lease":   func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(worldOf(ts).lend(args)) },
			"packets": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(worldOf(ts).talk(args[0])) },
			"serve":   func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(worldOf(ts).serve()) },
			"healthy": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(worldOf(ts).healthy()) },
			"declare": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(worldOf(ts).declare(ts.ReadFile(args[0])))
			},
			"boot":       func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(worldOf(ts).boot(args[0], true)) },
			"boot-fails": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(worldOf(ts).boot(args[0], false)) },
			"pair": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(worldOf(ts).pair(ts.ReadFile(args[0])))
			},
			"half": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(worldOf(ts).half(args[0], ts.ReadFile(args[1])))
			},
			"made": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(worldOf(ts).made(args[0])) },
			"later": func(ts *testscript.TestScript, _ bool, args []string) {
				d, err := time.ParseDuration(args[0])
				ts.Check(err)
				worldOf(ts).later(d)
			},
		},
	})
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func runMuster(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	p := &program{
		stdin: strings.NewReader(""), stdout: ts.Stdout(), stderr: ts.Stderr(), getenv: ts.Getenv,
		now: w.clock,
	}
	if len(args) > 1 && args[0] == "<" {
		p.stdin, args = strings.NewReader(ts.ReadFile(args[1])), args[2:]
	}
	if w.code = p.run(context.Background(), args); neg != (w.code != 0) {
		ts.Fatalf("exit code %d", w.code)
	}
}

// world is a server and the machines of its rack, with a clock of their own.
type world struct {
	socket  string
	dir     string // of the script
	images  api.Images
	bakery  *images.Builder // nil while images are those of the shelf
	reg     *roles.Registry
	store   *state.Store
	mu      sync.Mutex // guards at, spoke and paired
	at      time.Time
	spoke   map[roles.MAC]uint64 // the boot in which a node's agent last spoke
	paired  *roles.PairView      // nil while pairs are those of reg
	code    int
	stop    func()
	leases  *serve.Leases
	packets trace.Hub
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// later moves the clock.
func (w *world) later(d time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
	return w.at
}

func newWorld(socket string) *world {
	w := &world{socket: socket, images: shelf{}, store: state.OpenMemory(), spoke: map[roles.MAC]uint64{}, at: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), stop: func() {}}
	w.reg = &roles.Registry{
		Store: w.store, Images: w, Now: w.clock,
		Power: map[string]roles.Driver{"lab": switchboard{}, "dead": deadSwitch{}},
		Library: map[string]roles.Role{
			"web": {Name: "web", Description: "HTTP server (nginx)", Health: &roles.Health{HTTP: &roles.HTTPCheck{Path: "/"}}},
			"ntp": {Name: "ntp", Description: "time server (chrony)", Health: &roles.Health{NTP: &roles.NTPCheck{}}},
		},
	}
	w.leases, w.packets.Now = w.newLeases(), w.clock
	return w
}

func (w *world) close() {
	w.stop()
	_ = w.store.Close()
}

func (w *world) serve() error {
	srv := &api.Server{
		Rack: pairs{w.reg, w}, Images: w.images, Build: w.build, Import: w.make, Version: "v1.0", Started: w.clock(),
		Leases: w.leases.List, Leasing: w.leases, Trace: serve.Watch(&w.packets),
		Doctor: func(context.Context) ([]api.Finding, error) {
			return []api.Finding{
				{Check: "tftp", Status: api.StatusOK, Detail: "undionly.kpxe came in 3 ms"},
				{Check: "dhcp", Status: api.StatusFail, Detail: "10.77.0.9 answers DHCP too", Fix: "switch it off"},
			}, nil
		},
	}
	socks, err := srv.Listen(w.socket, "", nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ctx, socks) }()
	before := w.stop
	w.stop = func() { cancel(); <-done; before() }
	return nil
}

// Find implements roles.Images.
func (w *world) Find(ref images.Ref) (images.Image, error) { return w.images.Find(ref) }

func (w *world) declare(text string) error {
	d, err := declare.Parse([]byte(text), "rack.yaml")
	if err == nil {
		_, err = w.reg.Apply(context.Background(), d, roles.ApplyOptions{})
	}
	return err
}

// boot plays a machine from power-on to switch-root, or to the point where its agent gives up.
func (w *world) boot(text string, ok bool) error {
	ctx := context.Background()
	mac, err := roles.ParseMAC(text)
	if err != nil {
		return err
	}
	facts := roles.Facts{Arch: "x86_64", Firmware: "bios", Address: netip.MustParseAddr("10.77.0.100")}
	for _, s := range []roles.Step{roles.StepDiscover, roles.StepLease, roles.StepNBP} {
		at := w.later(500 * time.Millisecond)
		err := w.reg.Observe(ctx, []roles.Sighting{{MAC: mac, Time: at, Step: s, Facts: facts, Boots: true}})
		if err != nil {
			return err
		}
	}
	tk, err := w.reg.Script(ctx, mac, facts)
	if err != nil {
		return err
	}
	w.later(6 * time.Second)
	facts.Manufacturer, facts.Product, facts.Serial = "Muster", "Virtual \x1b[31mrack machine", "S1"
	facts.Inventory = &roles.Inventory{
		Memory: 768, CPUs: 2, CPU: "QEMU TCG",
		NICs: []roles.NIC{{Name: "eth0", MAC: mac, Driver: "virtio_net", Speed: 10000, Link: true}},
	}
	token := tk.Boot.Token
	orders, err := w.reg.Hello(ctx, mac, token, tk.Image.Kernel, 5*time.Second, facts)
	if err != nil {
		return err
	}
	if orders.Slot != nil {
		if _, err := w.reg.Claim(ctx, mac, token, claimKey); err != nil {
			return err
		}
	}
	w.later(2500 * time.Millisecond)
	last := roles.Reported{Seq: 2, Uptime: 7500 * time.Millisecond, Step: roles.StepSwitchRoot, Message: "starting /sbin/init"}
	if !ok {
		last.Step, last.Message, last.Error = roles.StepFail, "", "mounting the root: connection refused; is the NFS server up?"
	}
	return w.reg.Report(ctx, mac, token, []roles.Reported{
		{Seq: 1, Uptime: 6 * time.Second, Step: roles.StepNetwork, Message: "address set"}, last,
	})
}

// healthy lets the reconciler run until every occupant that boots is ready.
func (w *world) healthy() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() {
		ran <- (&roles.Reconciler{Registry: w.reg, Checker: checks{}, Tick: time.Millisecond}).Run(run)
	}()
	defer func() { stop(); <-ran }()
	for {
		rev := w.reg.Revision()
		pools, err := w.reg.Pools()
		if err != nil {
			return err
		}
		booting := 0
		for _, p := range pools {
			booting += p.Booting
		}
		tested, err := w.fencingTested()
		if err != nil || booting == 0 && tested {
			return err
		}
		select {
		case <-w.reg.Watch(rev):
		case <-time.After(time.Millisecond): // that fencing was tested is no revision
		case <-ctx.Done():
			return fmt.Errorf("%d nodes still boot", booting)
		}
	}
}

// fencingTested reports whether the power of every half was tried, which the reconciler does beside its checks.
func (w *world) fencingTested() (bool, error) {
	all, err := w.reg.Pairs()
	for _, v := range all {
		for _, h := range v.Halves {
			if !h.Node.IsZero() && h.FencingAt.IsZero() {
				return false, err
			}
		}
	}
	return true, err
}

// deadSwitch is a driver that does not reach its machines.
type deadSwitch struct{}

var errDeadSwitch = errors.New("no answer from 10.77.1.11")

func (deadSwitch) On(context.Context, string) error             { return errDeadSwitch }
func (deadSwitch) Off(context.Context, string) error            { return errDeadSwitch }
func (deadSwitch) Status(context.Context, string) (bool, error) { return false, errDeadSwitch }

type switchboard struct{}

func (switchboard) On(context.Context, string) error             { return nil }
func (switchboard) Off(context.Context, string) error            { return nil }
func (switchboard) Status(context.Context, string) (bool, error) { return true, nil }
