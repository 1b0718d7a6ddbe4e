package pair

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// FenceAgent is the fence agent of Pacemaker: it has the boot server switch the other half's machine off.
type FenceAgent struct {
	// Config is the pair's. Required, but for metadata.
	Config Config
	// Root is put before every path; empty on a real machine.
	Root string
	// Server is the boot servers. Required for off, reboot and monitor.
	Server Server
}

// fencedFile is when this half has switched the other one off for sure, in RFC 3339.
const fencedFile = RunDir + "/fenced"

// fenceRequest reads what to do: from the arguments, as people and Pacemaker's tests give it (-o off, --action=off), and
// from stdin, as Pacemaker does, a key=value in each line. Later ones count.
func fenceRequest(args []string, stdin io.Reader) (action, plug string) {
	take := func(k, v string) {
		switch k {
		case "action", "option", "o":
			action = v
		case "port", "plug", "nodename", "n":
			if plug == "" || k != "nodename" {
				plug = v
			}
		}
	}
	for i := 0; i < len(args); i++ {
		k, v, ok := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !ok && i+1 < len(args) {
			i++
			v = args[i]
		}
		take(k, v)
	}
	if action == "" {
		lines := bufio.NewScanner(io.LimitReader(stdin, 64<<10))
		for lines.Scan() {
			k, v, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
			if !strings.HasPrefix(k, "#") {
				take(strings.TrimSpace(k), strings.TrimSpace(v))
			}
		}
	}
	return strings.ToLower(action), plug
}

// Do carries out an action and gives its exit code: 0 is done, or on; 1 is failed.
func (f *FenceAgent) Do(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	action, plug := fenceRequest(args, stdin)
	if err := f.act(ctx, action, plug, stdout); err != nil {
		fmt.Fprintf(stderr, "fence_muster: %s %s: %v\n", action, plug, err)
		return 1
	}
	return 0
}

func (f *FenceAgent) act(ctx context.Context, action, plug string, stdout io.Writer) error {
	switch action {
	case "off", "reboot", "on", "status":
		if plug != "" && plug != f.Config.Peer {
			return fmt.Errorf("pair: this half can switch %s alone", f.Config.Peer)
		}
	}
	switch action {
	case "off", "reboot":
		// Muster switches it on again by itself, when this half serves: a machine that boots would slow it down.
		if err := f.Server.Call(ctx, FenceTime+callTime, OpFence, nil, nil); err != nil {
			return err
		}
		m := machine{root: f.Root}
		m.write(fencedFile, []byte(time.Now().UTC().Format(time.RFC3339Nano)+"\n"), 0o600) // only a help for the fence-peer handler
		return nil
	case "on":
		return nil
	case "status", "monitor":
		return f.Server.Call(ctx, 30*time.Second, OpTry, nil, nil)
	case "list", "list-status":
		_, err := fmt.Fprintf(stdout, "%s,\n", f.Config.Peer)
		return err
	case "validate-all", "start", "stop":
		return nil
	}
	return fmt.Errorf("pair: there is no such action")
}
