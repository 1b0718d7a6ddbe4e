package pair

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"muster/httpboot/agent"
)

// Process is what a program was started with.
type Process struct {
	// Args are those behind "pair"; Env is the environment.
	Args   []string
	Env    []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Run is "muster-init pair VERB …": run, ocf, fence or peer. It gives the exit code.
func (p Process) Run(ctx context.Context) int {
	verb, rest := "", []string(nil)
	if len(p.Args) > 0 {
		verb, rest = p.Args[0], p.Args[1:]
	}
	var err error
	switch verb {
	case "run":
		err = p.daemon(ctx)
	case "ocf":
		return p.ocf(ctx, strings.Join(rest, " "))
	case "fence":
		return p.fence(ctx, rest)
	case "peer":
		return p.peer(ctx, rest)
	default:
		err = fmt.Errorf("pair: there is run, ocf ACTION, fence and peer, not %q: %w", verb, fs.ErrInvalid)
	}
	if err != nil {
		fmt.Fprintln(p.Stderr, "muster-init:", err)
		return 1
	}
	return 0
}

func (p Process) daemon(ctx context.Context) error {
	c, err := ReadConfig("")
	if err != nil {
		return err
	}
	server, err := agent.NewCaller("", nil)
	if err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	store, err := agent.NewFetcher(string(cmdline))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", HealthPort))
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	d := &Daemon{Config: c, System: Linux{}, Network: LinuxNetwork{}, Server: server, Store: store, Console: agent.NewConsole(p.Stderr, false)}
	// What it waits for belongs on the machine's screen.
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		defer f.Close()
		d.Console = agent.NewConsole(f, true)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Watchdog{System: d.System, Reset: resetMachine, Console: d.Console}
	watched := make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		w.Run(ctx)
	}()
	defer func() {
		cancel()
		<-watched
	}()
	health := make(chan error, 1)
	go func() { // ends with ctx
		health <- d.ServeHealth(ctx, l)
		cancel()
	}()
	if err := d.Run(ctx); err != nil {
		return err
	}
	return <-health
}

func (p Process) ocf(ctx context.Context, action string) int {
	a := &ResourceAgent{System: Linux{}, Network: LinuxNetwork{}, Log: p.Stderr}
	var err error
	if a.Config, err = ReadConfig(""); err != nil {
		fmt.Fprintln(p.Stderr, "storage:", err)
		return ocfConfigured
	}
	return a.Do(ctx, action)
}

func (p Process) fence(ctx context.Context, args []string) int {
	f := &FenceAgent{Server: lazy{}}
	f.Config, _ = ReadConfig("") // without one nobody's name is the peer's
	return f.Do(ctx, args, p.Stdin, p.Stdout, p.Stderr)
}

func (p Process) peer(ctx context.Context, args []string) int {
	h := &PeerHandler{System: Linux{}, Server: lazy{}, Log: p.Stderr}
	return h.Do(ctx, args, p.Env)
}
