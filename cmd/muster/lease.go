package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"muster/roles/api"
)

func (p *program) newLeaseCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "lease", Short: "addresses that DHCP has lent: list"})
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the current leases", Args: wants()}
	out := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		leases, err := c.Leases(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, leases, func(w io.Writer) { printLeases(w, leases, p.now()) })
	}
	cmd.AddCommand(list)
	return cmd
}

func printLeases(w io.Writer, leases []api.LeaseView, now time.Time) {
	if len(leases) == 0 {
		fmt.Fprintln(w, "no leases")
		return
	}
	g := newGrid("ADDRESS", "MAC", "HOSTNAME", "EXPIRES")
	for _, l := range leases {
		expires := "expired"
		if d := l.Expires.Sub(now); d > 0 {
			expires = "in " + short(d)
		}
		g.row(addrText(l.Address), l.MAC.String(), l.Hostname, expires)
	}
	g.print(w)
}
