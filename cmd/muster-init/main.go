// Command muster-init is /init of every node that Muster boots: a thin main over httpboot/agent. It is
// static (CGO_ENABLED=0) and has no flags: the kernel command line tells it everything.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "muster-init: this is /init of a node's initrd; it runs only as process 1")
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
	a := &agent.Agent{System: agent.Linux{}, Network: agent.LinuxNetwork{}, Args: os.Args[1:]}
	a.Run(context.Background())
}
