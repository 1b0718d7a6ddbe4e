package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/roles/api"
	"muster/tests/rack"
)

// defaultLabData is where a lab keeps its configuration, state and images.
const defaultLabData = "/var/lib/muster-lab"

// labConfig and labRack are what a new lab starts with; people may change them in its data directory.
const labConfig = `# A virtual rack: the network is a bridge in a namespace of its own, so nothing here reaches another network.
data: %[1]s
dhcpd:
  interfaces: [br0]
  subnets:
  - {subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199, router: 10.77.0.1, dns: [10.77.0.1], domain: rack.example, lease: 1h}
api: {socket: %[1]s/muster.sock, listen: ""}
power: {lab: {socket: %[1]s/lab.sock}}
`

const labRack = `# What this rack should be: muster apply -f this file. The small kernel has virtual network cards only.
roles:
- {name: web, build: {kernel: cloud}, health: {http: {port: 80, path: /}, interval: 2s}}
- {name: ntp, build: {kernel: cloud}}
pools:
- {name: web, role: web, size: {min: 1, max: 20}, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}, priority: 10, takeover: 5s}
- {name: ntp, role: ntp, size: {min: 0, max: 10}, addresses: 10.77.0.40-10.77.0.49}
`

// lab is a virtual rack with a boot server in it.
type lab struct {
	data   string
	config *config.Config
	rack   *rack.Rack
	client *api.Client
	serve  *exec.Cmd
	exited chan struct{} // closed when serve has ended
}

func (l *lab) file(name string) string { return filepath.Join(l.data, name) }

// newLab makes the data directory with its configuration.
func newLab(data string) (*lab, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return nil, errors.New("a lab needs root: it makes a network namespace and builds images; use sudo")
	}
	l := &lab{data: data}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"muster.yaml": fmt.Sprintf(labConfig, data), "rack.yaml": labRack} {
		f, err := os.OpenFile(l.file(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	if l.config, err = config.Load(l.file("muster.yaml")); err != nil {
		return nil, err
	}
	if l.config.Power.Lab == nil {
		return nil, fmt.Errorf("%s: power.lab.socket is missing: a lab needs it", l.file("muster.yaml"))
	}
	l.client = api.Dial(l.config.API.Socket)
	return l, nil
}

// up makes the rack and starts the server in it. Close ends both.
func (l *lab) up(ctx context.Context) (err error) {
	if _, err := l.client.Version(ctx); err == nil {
		return fmt.Errorf("a lab with the data directory %s is up already; muster lab down ends it", l.data)
	}
	if l.rack, err = rack.New(ctx, rack.Options{}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	go func() { _ = l.rack.ServeLab(ctx, l.config.Power.Lab.Socket) }() // ends with ctx, or with the rack
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(l.file("serve.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	l.serve = l.rack.Command(context.WithoutCancel(ctx), exe, "--config", l.file("muster.yaml"), "serve")
	l.serve.Stdout, l.serve.Stderr = log, log
	if err := l.serve.Start(); err != nil {
		return err
	}
	l.exited = make(chan struct{})
	go func() { // ends with the process
		_ = l.serve.Wait()
		close(l.exited)
	}()
	if err := l.answers(ctx); err != nil {
		return err
	}
	declared, err := os.ReadFile(l.file("rack.yaml"))
	if err != nil {
		return err
	}
	_, err = l.client.Apply(ctx, declared, l.file("rack.yaml"), applyAll)
	return err
}

// answers waits for the server's API.
func (l *lab) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := l.client.Version(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-l.exited:
			log, _ := os.ReadFile(l.file("serve.log"))
			return fmt.Errorf("the boot server did not start: %s", log)
		case <-ctx.Done():
			return fmt.Errorf("the boot server does not answer (its log is %s): %w", l.file("serve.log"), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close stops the server, the machines and the rack, and leaves nothing but the data directory.
func (l *lab) Close() {
	if l.exited != nil {
		_ = l.serve.Process.Signal(syscall.SIGTERM)
		select {
		case <-l.exited:
		case <-time.After(20 * time.Second): // what closing the rack kills
		}
	}
	if l.rack != nil {
		_ = l.rack.Close()
	}
}

func (p *program) newLabUpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "start a lab: a virtual rack with a boot server in it, until Ctrl-C", Args: wants(),
		Long: "Up makes a virtual rack, starts muster serve in it and applies the rack.yaml of its data directory.\n" +
			"Machines are put in with muster lab add. Ctrl-C, or muster lab down, ends everything; images stay.",
	}
	data := cmd.Flags().String("data", defaultLabData, "data directory, with the lab's muster.yaml and rack.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := newLab(*data)
		if err != nil {
			return err
		}
		if err := l.up(cmd.Context()); err != nil {
			return err
		}
		defer l.Close()
		fmt.Fprintf(p.stdout, "the lab is up; in another terminal:\n")
		l.hint(p.stdout)
		return l.stay(cmd.Context())
	}
	return cmd
}

// hint says how other terminals reach the lab.
func (l *lab) hint(w io.Writer) {
	fmt.Fprintf(w, "  export MUSTER_CONFIG=%s\n", l.file("muster.yaml"))
	for _, line := range [][2]string{
		{"muster lab add --on", "one more machine that Muster has never seen"},
		{"muster node list", "every machine, its slot and what it does"},
		{"muster events --follow", "everything that happens"},
		{"muster image build ntp --local -f " + l.file("rack.yaml"), "the image of another role"},
	} {
		fmt.Fprintf(w, "  %-40s # %s\n", line[0], line[1])
	}
}

// stay waits for Ctrl-C, or for the server's unexpected end.
func (l *lab) stay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.exited:
		return fmt.Errorf("the boot server ended; its log is %s", l.file("serve.log"))
	}
}
