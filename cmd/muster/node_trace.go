package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/dhcpd/trace"
	"muster/roles/api"
)

const traceHelp = `Trace shows the DHCP packets of a machine as the server sees them, until Ctrl-C: which program asks (firmware, iPXE, the
operating system), what it is told, and why a packet got no answer. "<" came from the machine, ">" goes to it. The machine
need not be a node yet: any MAC will do. Nothing is recorded while nobody watches, so start it before the machine.

With --write the packets go into a file as well that Wireshark and tcpdump open; with "--write -" they go to standard
output instead of the text: muster node trace --all --write - | wireshark -k -i -
The server sees no Ethernet headers: in the file, those of servers and relays are made up (02:00 and their IP address).`

// errEnough ends a trace that has all packets it wants.
var errEnough = errors.New("enough")

func (p *program) newNodeTraceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trace NODE...", Short: "show a machine's DHCP packets live, and write them as pcap",
		Long: traceHelp, Args: cobra.ArbitraryArgs, ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	t := &tracer{program: p, out: outputFlag(cmd)}
	cmd.Flags().StringVarP(&t.file, "write", "w", "", "write the packets to this pcap file; - is standard output")
	cmd.Flags().BoolVarP(&t.all, "verbose", "v", false, "show all that each packet says")
	cmd.Flags().IntVarP(&t.left, "count", "n", 0, "end after so many packets; 0 means never")
	every := cmd.Flags().Bool("all", false, "the packets of every machine")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *every == (len(args) > 0) {
			return usageError{cmd, errors.New("want the MACs or slots of machines, or --all")}
		}
		if t.left < 0 {
			return usageError{cmd, errors.New("--count is a number from 0")}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		return t.run(cmd, c, args)
	}
	return cmd
}

// tracer shows packets.
type tracer struct {
	*program
	out  *output
	file string
	all  bool
	left int
	pcap *trace.PCAP // nil without a file
}

func (t *tracer) run(cmd *cobra.Command, c *api.Client, nodes []string) (err error) {
	if t.file != "" {
		w, done, err := t.open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		if t.pcap, err = trace.NewPCAP(w); err != nil {
			return err
		}
	}
	ready := func() { fmt.Fprintln(t.stderr, "watching; Ctrl-C ends it") }
	err = c.Trace(cmd.Context(), nodes, ready, t.show)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// open makes the file; done closes it.
func (t *tracer) open() (w io.Writer, done func() error, err error) {
	if t.file == "-" {
		return t.stdout, func() error { return nil }, nil
	}
	f, err := os.OpenFile(t.file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// show prints a packet and writes it to the file.
func (t *tracer) show(p api.TracePacket) error {
	if p.Lost > 0 {
		fmt.Fprintf(t.stderr, "%s lost: this side was too slow\n", plural(int(p.Lost), "packet"))
	}
	if p.Data == nil {
		return nil
	}
	packet := dhcpd.Packet{Interface: p.Interface, MAC: lease.MAC(p.MAC), In: p.In, From: p.From, To: p.To, Data: p.Data, Drop: p.Drop}
	if t.pcap != nil {
		if err := t.pcap.Write(trace.Record{Time: p.Time, Packet: packet}); err != nil {
			return err
		}
	}
	if t.file != "-" {
		if err := t.print(p, packet); err != nil {
			return err
		}
	}
	if t.left--; t.left == 0 {
		return errEnough
	}
	return nil
}

func (t *tracer) print(p api.TracePacket, packet dhcpd.Packet) error {
	switch t.out.format {
	case "json":
		return json.NewEncoder(t.stdout).Encode(p)
	case "yaml":
		b, err := toYAML(p)
		if err == nil {
			_, err = fmt.Fprintf(t.stdout, "---\n%s", b)
		}
		return err
	}
	_, err := fmt.Fprintf(t.stdout, "%s  %s  %s  %s %s\n", trace.Clock(p.Time), p.Interface, p.MAC, trace.Way(packet), printable(p.Summary))
	if t.all && err == nil {
		for _, line := range trace.Details(packet) {
			fmt.Fprintf(t.stdout, "    %s\n", printable(line))
		}
	}
	return err
}
