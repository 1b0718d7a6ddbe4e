package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

// lastEvents is how many events are shown when nobody says: a screen.
const lastEvents = 40

func (p *program) newEventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events", Short: "what happened in the rack, live with --follow",
		Long: "Events lists what happened in the rack, the latest at the end. With --follow it goes on; -o json then\n" +
			"writes one object a line. A server that restarts is waited for, and nothing is missed; a script that was\n" +
			"stopped goes on without a gap by --after with the last seq it has seen.",
		Args: wants(),
	}
	out := outputFlag(cmd)
	var q api.EventQuery
	follow := cmd.Flags().BoolP("follow", "f", false, "show events as they come")
	node := cmd.Flags().String("node", "", "only those of this node: its MAC, or the name it had at that time")
	cmd.Flags().Uint64Var(&q.After, "after", 0, "begin after the event with this seq")
	cmd.Flags().IntVarP(&q.Last, "last", "n", 0, fmt.Sprintf("the latest so many; 0 means %d, or all with --after", lastEvents))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if q.Last < 0 {
			return usageError{cmd, fmt.Errorf("--last is a number from 0")}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		switch {
		case q.Last == 0 && q.After > 0:
			q.Limit = roles.EventsKept
		case q.Last == 0:
			q.Last = lastEvents
		}
		if *follow {
			c.Patience = patience
			return c.Follow(cmd.Context(), q, func(e roles.Event) error {
				if !concerns(e, *node) {
					return nil
				}
				return printEvent(p.stdout, out.format, e)
			})
		}
		all, err := c.Events(cmd.Context(), q)
		if err != nil {
			return err
		}
		events := []roles.Event{}
		for _, e := range all {
			if concerns(e, *node) {
				events = append(events, e)
			}
		}
		return out.print(p.stdout, events, func(w io.Writer) {
			for _, e := range events {
				_ = printEvent(w, "table", e)
			}
		})
	}
	return cmd
}

// concerns reports whether e is about the node; "" is every node.
func concerns(e roles.Event, key string) bool {
	if key == "" || key == e.Name {
		return true
	}
	mac, err := roles.ParseMAC(key)
	return err == nil && mac == e.Node
}

// printEvent writes one event. Its columns have fixed widths, so that those of a live stream line up too.
func printEvent(w io.Writer, format string, e roles.Event) error {
	var err error
	switch format {
	case "json":
		err = json.NewEncoder(w).Encode(e)
	case "yaml":
		var b []byte
		if b, err = toYAML(e); err == nil {
			_, err = fmt.Fprintf(w, "---\n%s", b)
		}
	default:
		name := e.Name
		if name == "" {
			name = "-"
		}
		line := fmt.Sprintf("%s  %s  %-10s  %-11s  %s", stamp(e.Time), e.Node, name, e.Step, printable(eventText(e)))
		_, err = fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	return err
}
