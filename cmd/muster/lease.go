package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"muster/dhcpd/leasefile"
	"muster/roles"
	"muster/roles/api"
)

func (p *program) newLeaseCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "lease", Short: "addresses that DHCP has lent: list, release, export, import"})
	cmd.AddCommand(p.newLeaseListCommand(), p.newLeaseReleaseCommand(), p.newLeaseExportCommand(), p.newLeaseImportCommand())
	return cmd
}

// leaseFilter is which leases a command is about.
type leaseFilter struct {
	subnet, mac       string
	expired, declined bool
}

func (f *leaseFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.subnet, "subnet", "", "only addresses of this network: 10.77.0.0/24")
	cmd.Flags().StringVar(&f.mac, "mac", "", "only the lease of this machine")
	cmd.Flags().BoolVar(&f.expired, "expired", false, "only those that have expired; a machine gets its own back while it is free")
	cmd.Flags().BoolVar(&f.declined, "declined", false, "only addresses that somebody else uses, so that nobody gets them for now")
}

// query is the filter as the server takes it.
func (f *leaseFilter) query(cmd *cobra.Command) (q api.LeaseQuery, err error) {
	if f.subnet != "" {
		if q.Subnet, err = netip.ParsePrefix(f.subnet); err != nil {
			return q, usageError{cmd, fmt.Errorf("--subnet %q is not a network (want the form 10.77.0.0/24)", f.subnet)}
		}
	}
	if f.mac != "" {
		if q.MAC, err = roles.ParseMAC(f.mac); err != nil {
			return q, usageError{cmd, fmt.Errorf("--mac: %w", err)}
		}
	}
	switch {
	case f.expired && f.declined:
		return q, usageError{cmd, fmt.Errorf("want --expired or --declined, not both")}
	case f.expired:
		q.State = api.LeaseExpired
	case f.declined:
		q.State = api.LeaseDeclined
	}
	return q, nil
}

// leases asks the server for those that a command is about.
func (p *program) leases(cmd *cobra.Command, f *leaseFilter) ([]api.LeaseView, error) {
	q, err := f.query(cmd)
	if err != nil {
		return nil, err
	}
	c, err := p.client(cmd)
	if err != nil {
		return nil, err
	}
	return c.Leases(cmd.Context(), q)
}

func (p *program) newLeaseListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the leases by address", Args: wants()}
	out := outputFlag(cmd)
	var f leaseFilter
	f.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		leases, err := p.leases(cmd, &f)
		if err != nil {
			return err
		}
		return out.print(p.stdout, leases, func(w io.Writer) { printLeases(w, leases, p.now()) })
	}
	return cmd
}

func printLeases(w io.Writer, leases []api.LeaseView, now time.Time) {
	if len(leases) == 0 {
		fmt.Fprintln(w, "no leases")
		return
	}
	g := newGrid("ADDRESS", "MAC", "HOSTNAME", "EXPIRES")
	for _, l := range leases {
		g.row(addrText(l.Address), macText(l.MAC), l.Hostname, leaseEnd(l, now))
	}
	g.print(w)
}

// leaseEnd says until when nobody else gets the address.
func leaseEnd(l api.LeaseView, now time.Time) string {
	d := l.Expires.Sub(now)
	switch {
	case l.State == api.LeaseDeclined:
		return "declined; free in " + short(d)
	case l.Expires.Equal(leasefile.Never):
		return "never"
	case d <= 0:
		return "expired"
	}
	return "in " + short(d)
}

// macText is a MAC; empty for none.
func macText(m roles.MAC) string {
	if m.IsZero() {
		return ""
	}
	return m.String()
}

func (p *program) newLeaseReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "release ADDRESS|MAC", Short: "end a lease, or make an address that was declined free again",
		Long: "Release ends a lease. Its machine is not told: it goes on with the address until it would renew, and may meet\n" +
			"another machine there. So switch it off first. A lease that has expired is forgotten: its machine then gets\n" +
			"any address. An address that was declined, or held back by an import, is free again.",
		Args: wants("ADDRESS|MAC"), ValidArgsFunction: p.completeArgs(p.leaseKeys),
	}
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := p.confirm(cmd.Context(), *yes, args[0], "Its machine is not told. If it is on, it goes on with the address until it would renew."); err != nil {
			return err
		}
		l, err := c.ReleaseLease(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		what := map[string]string{
			api.LeaseActive: "released", api.LeaseExpired: "forgotten", api.LeaseDeclined: "free again",
		}[l.State]
		fmt.Fprintln(p.stdout, printable(join(addrText(l.Address), label("of", macText(l.MAC)), what)))
		return nil
	}
	return cmd
}
