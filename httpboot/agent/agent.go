package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var dialer = net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}

// Agent brings one machine from the kernel's start to the image's init. Run does all of it.
type Agent struct {
	// Root is put before every path that the agent touches; empty on a real machine.
	Root string
	// System and Network are the kernel. Required: Linux and LinuxNetwork on a real machine.
	System  System
	Network Network
	// Console is the screen. Nil opens the machine's own, once /dev is mounted.
	Console *Console
	// HTTP talks to the boot servers; nil means a client with short dials and no proxy.
	HTTP *http.Client
	// HTTPS talks to them where secrets go; nil means one that takes the key with ParamPin and no other.
	HTTPS *http.Client
	// Args are the kernel's own arguments for init ("single"), passed on to the image's.
	Args []string

	params  Params
	mods    *modules
	tried   map[string]bool // modaliases that were looked up
	drivers chan struct{}   // closed when every device has its driver
	// preloading is set while modules go in in the background.
	preloading atomic.Bool
	client     *client
	events     *reporter
	nic        string
	address    netip.Prefix                     // what the NIC has now
	settled    bool                             // address is a spec's, and was reported
	ram        *Seal                            // of what ramDir holds, whole and verified; nil while it holds nothing
	loaded     string                           // where that came from, for people
	volume     func(dir *os.File) (bool, error) // see writer; nil is the kernel's word
	key        string                           // proves that this machine redeemed the boot's token; empty before it did
}

// errReboot ends a boot: the machine restarts, for the reason that it carries.
type errReboot struct{ why string }

func (e *errReboot) Error() string { return e.why }

// Run boots. On a real machine it does not return while things go well: it becomes the image's init, or
// restarts the machine after it said why. It returns nil when System.SwitchRoot did (in tests), and
// otherwise why there was no boot; a restart was then asked for. Ctx ends it without a restart.
func (a *Agent) Run(ctx context.Context) error {
	err := a.boot(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	a.restart(ctx, err)
	return err
}

func (a *Agent) boot(ctx context.Context) error {
	a.mountAPI()
	a.openConsole()
	a.Console.Say("starting on %s", a.System.Kernel())
	cmdline := readWord(a.path("/proc/cmdline"))
	var err error
	if a.params, err = ParseParams(cmdline); err != nil {
		return err
	}
	a.tried = map[string]bool{}
	if a.mods, err = readModules(a.path("/lib/modules/" + a.System.Kernel())); err != nil {
		// Everything may be built in; if not, the wait for the NIC says what has no driver.
		a.Console.Fail("%v", err)
		a.mods = &modules{tried: map[string]*insertion{}}
	}
	if a.HTTP == nil {
		a.HTTP = httpClient()
	}
	a.client = &client{http: a.HTTP, servers: a.params.Servers}
	a.events = newReporter(a.client, a.params, a.Console.Remind, a.uptime)
	if err := a.upNetwork(ctx); err != nil {
		return err
	}
	rctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends when boot does
		defer close(done)
		a.events.run(rctx)
	}()
	defer func() { stop(); <-done }()
	return a.online(ctx)
}

// online is what happens once there is a network: hello, wait, setup, hand over. A setup that fails is
// done again, with the spec that the server has by then: an operator may have changed it.
func (a *Agent) online(ctx context.Context) error {
	spec, err := a.hello(ctx)
	if err != nil {
		return err
	}
	b := backoff{min: 2 * time.Second, max: time.Minute}
	last, same := "", 0
	for {
		step, err := a.setUp(ctx, spec)
		if err == nil {
			return nil
		}
		var reboot *errReboot
		if ctx.Err() != nil || errors.As(err, &reboot) || errors.Is(err, errClaimed) {
			return err
		}
		d := b.step()
		a.Console.Fail("%v; again in %s", err, rounded(d))
		if err.Error() != last {
			last, same = err.Error(), 0
		}
		if same++; same&(same-1) == 0 { // 1, 2, 4, 8, …: a night of failures must not fill the timeline
			a.events.add(step, fmt.Sprintf("try %d failed; again in %s", same, rounded(d)), err)
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
		if spec, err = a.refresh(ctx, spec); err != nil {
			return err
		}
	}
}

// setUp turns spec into a root and hands over. On failure it names the step and leaves nothing mounted but an
// image that is in RAM.
func (a *Agent) setUp(ctx context.Context, s *Spec) (step string, err error) {
	if err := s.check(); err != nil {
		return "fail", err
	}
	if have := a.System.Kernel(); s.Kernel != "" && s.Kernel != have {
		return "reboot", &errReboot{fmt.Sprintf("%s needs the kernel %s, this is %s", s.Image, s.Kernel, have)}
	}
	a.setClock(s.Now)
	if err := a.setAddress(ctx, s); err != nil {
		return "network", err
	}
	// Before anything is mounted: it is what an NFS 4 server knows this machine by, and two with the same name take
	// each other's state away (RFC 8881 §2.4).
	if err := a.System.SetHostname(s.Hostname); err != nil {
		return "network", fmt.Errorf("hostname %s: %w", s.Hostname, err)
	}
	// The handshake is work for this machine's processor, a mount a wait for the server.
	secrets, stop := a.claiming(ctx, s)
	defer stop()
	done, err := a.mountRoot(ctx, s)
	defer func() {
		if err != nil {
			done.undo(a.System)
		}
	}()
	if err != nil {
		return "root", err
	}
	for _, m := range s.Mounts {
		if err := a.mountIn(ctx, m); err != nil {
			return "mount", fmt.Errorf("%s: %w", m.Target, err)
		}
		done = append(done, a.path(sysroot+m.Target))
		a.note("mount", "%s from %s:%s", m.Target, m.Server, m.Path)
	}
	secret, err := secrets()
	if err == nil {
		err = a.writeFiles(s, secret)
	}
	if err == nil {
		err = a.leave(s)
	}
	if err != nil {
		return "files", err
	}
	a.note("files", "%s, %d files", s.Hostname, len(s.Files)+len(secret))
	return a.handOver(ctx, s)
}

// flushTime is how long a boot waits for its last events to be taken. The server learns from the health
// check anyway that the node came up.
const flushTime = 5 * time.Second

// handOver makes the image's init process 1.
func (a *Agent) handOver(ctx context.Context, s *Spec) (step string, err error) {
	init, root := s.init(), a.path(sysroot)
	if err := (inRoot{root}).stat(init); err != nil {
		return "switch-root", fmt.Errorf("%s has no %s: %w", s.Image, init, err)
	}
	a.note("switch-root", "%s takes over", init)
	if !a.events.flush(ctx, flushTime) {
		a.Console.Say("the last events were not delivered; the boot goes on")
	}
	if err := a.Network.Announce(a.nic, a.address.Addr()); err != nil {
		a.Console.Fail("announce %v: %v", a.address, err)
	}
	if err := a.System.SwitchRoot(root, init, a.Args); err != nil {
		return "switch-root", &errReboot{fmt.Sprintf("hand over to %s: %v", init, err)}
	}
	return "switch-root", nil
}

// note says on the console and to the server that a step is done.
func (a *Agent) note(step, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.Console.Say("%s: %s", step, text)
	a.events.add(step, text, nil)
}

// Pauses before a restart: the reason has to be readable. A machine that nobody can help from afar (no
// server, wrong command line) leaves more time to the one in front of it.
const (
	rebootPause = 5 * time.Second
	failPause   = time.Minute
)

// restart says why, on the console and to the server, and restarts the machine.
func (a *Agent) restart(ctx context.Context, why error) {
	pause, step := failPause, "fail"
	var reboot *errReboot
	if errors.As(why, &reboot) {
		pause, step = rebootPause, "reboot"
	}
	a.Console.Fail("%v", why)
	a.Console.Fail("restart in %s", pause)
	if a.events != nil && a.nic != "" {
		a.events.add(step, "restart in "+pause.String()+": "+why.Error(), nil)
		fctx, cancel := context.WithTimeout(ctx, pause)
		go a.events.run(fctx) // ends with fctx
		a.events.flush(fctx, flushTime)
		defer cancel()
	}
	if sleep(ctx, pause) != nil {
		return
	}
	if err := a.System.Reboot(); err != nil {
		a.Console.Fail("restart: %v; switch the machine off and on", err)
	}
}

// path puts Root before an absolute path.
func (a *Agent) path(p string) string { return a.Root + p }

// uptime is the time since the kernel started; 0 when it does not say.
func (a *Agent) uptime() time.Duration {
	word, _, _ := strings.Cut(readWord(a.path("/proc/uptime")), " ")
	s, _ := strconv.ParseFloat(word, 64)
	return time.Duration(s * float64(time.Second))
}

// apiDirs are the kernel's file systems, which the image takes over. (/run is the image's from the start.)
var apiDirs = []string{"/proc", "/sys", "/dev"}

// mountAPI mounts the kernel's file systems. One that is there already (EBUSY) is fine; any other failure
// shows itself at the next step, when there is a console to say it on.
func (a *Agent) mountAPI() {
	types := map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"}
	for _, dir := range apiDirs {
		os.MkdirAll(a.path(dir), 0o755)
		flags, data := uintptr(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC), ""
		if dir == "/dev" {
			flags, data = unix.MS_NOSUID, "mode=0755"
		}
		a.System.Mount(types[dir], a.path(dir), types[dir], flags, data)
	}
}

// openConsole opens the kernel's log and makes it show what the agent says.
func (a *Agent) openConsole() {
	if a.Console != nil {
		return
	}
	if f, err := os.OpenFile(a.path("/dev/kmsg"), os.O_WRONLY, 0); err == nil {
		// The kernel takes ten lines in five seconds from a program, unless told otherwise; and "quiet"
		// would leave the screen dead.
		os.WriteFile(a.path("/proc/sys/kernel/printk_devkmsg"), []byte("on\n"), 0)
		raiseLogLevel(a.path("/proc/sys/kernel/printk"))
		a.Console = NewConsole(f, true)
		return
	}
	if f, err := os.OpenFile(a.path("/dev/console"), os.O_WRONLY|unix.O_NOCTTY, 0); err == nil {
		a.Console = NewConsole(f, false)
		return
	}
	a.Console = NewConsole(os.Stderr, false)
}

// raiseLogLevel makes the consoles show notices (level 5) where they would not.
func raiseLogLevel(file string) {
	level, _, _ := strings.Cut(readWord(file), "\t")
	if n, err := strconv.Atoi(level); err == nil && n < 6 {
		os.WriteFile(file, []byte("6\n"), fs.FileMode(0))
	}
}
