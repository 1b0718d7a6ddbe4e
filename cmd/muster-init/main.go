// Command muster-init is /init of every node that Muster boots: a thin main over httpboot/agent. It is
// static (CGO_ENABLED=0) and has no flags: the kernel command line tells it everything. A copy of it stays in
// the running system's /run, where systemd starts it as "muster-init node"; that one is told by a file there.
// On the machines of a storage pair it is also their half of that, "muster-init pair run", and the programs that
// Pacemaker and DRBD call.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
	"muster/httpboot/agent/pair"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "node" && os.Getpid() != 1 {
		if err := node(); err != nil {
			fmt.Fprintln(os.Stderr, "muster-init:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) >= 2 && os.Args[1] == "pair" && os.Getpid() != 1 {
		os.Exit(storage(os.Args[2:]))
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "muster-init: this is /init of a node's initrd; it runs only as process 1,",
			"and as "+agent.AgentFile+" node or pair")
		os.Exit(2)
	}
	run()
	// Process 1 must not end: the kernel would panic. What went wrong is on the screen already.
	time.Sleep(time.Minute)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func run() {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "muster: this is a bug, please report it: %v\n%s\nmuster: restart in 60 s\n", p, debug.Stack())
		}
	}()
	debug.SetGCPercent(400) // it lives for seconds
	a := &agent.Agent{System: agent.Linux{}, Network: agent.LinuxNetwork{}, Args: os.Args[1:]}
	a.Run(context.Background())
}

// node runs beside the node's own work, which needs memory and processors more.
func node() error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(16 << 20)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	n := &agent.Node{Units: agent.Systemd{}, Console: agent.NewConsole(os.Stderr, false)}
	return n.Run(ctx)
}

// storage is the half of a storage pair, and what Pacemaker and DRBD call. It gives the exit code.
func storage(args []string) int {
	debug.SetMemoryLimit(64 << 20)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	return pair.Process{Args: args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}.Run(ctx)
}
