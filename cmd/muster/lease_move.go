package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"muster/dhcpd/lease"
	"muster/dhcpd/leasefile"
	"muster/roles/api"
)

func (p *program) newLeaseExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "write the leases as CSV or JSON",
		Long: "Export writes the leases as CSV or JSON, with all that they have: `muster lease import` reads both.",
		Args: wants(),
	}
	var f leaseFilter
	f.flags(cmd)
	format := cmd.Flags().String("format", "csv", "csv or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *format != string(leasefile.CSV) && *format != string(leasefile.JSON) {
			return usageError{cmd, fmt.Errorf("--format %q is neither csv nor json", *format)}
		}
		views, err := p.leases(cmd, &f)
		if err != nil {
			return err
		}
		leases := make([]lease.Lease, len(views))
		for i, v := range views {
			leases[i] = lease.Lease{MAC: lease.MAC(v.MAC), Addr: v.Address, Hostname: v.Hostname, Expires: v.Expires, Declined: v.State == api.LeaseDeclined}
		}
		return leasefile.Write(p.stdout, leasefile.Format(*format), leases, p.now())
	}
	return cmd
}

const importHelp = `Import takes over the leases of another DHCP server, so that machines keep the addresses that they have:

  ISC dhcpd  /var/lib/dhcp/dhcpd.leases
  dnsmasq    /var/lib/misc/dnsmasq.leases
  Kea        /var/lib/kea/kea-leases4.csv (where there are kea-leases4.csv.2 and .1, put them before it:
             cat kea-leases4.csv.2 kea-leases4.csv.1 kea-leases4.csv | muster lease import -)
  Muster     what "muster lease export" wrote

Stop the other server first, so that the file is complete; --dry-run shows what would happen. What fits is taken over
in one step, the rest is listed with the reason. Leases that have expired are left out, and those of IPv6.
"held" addresses are given to nobody until the lease ends: their machines get another address from Muster, but may use
this one until they renew.`

func (p *program) newLeaseImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "take over the leases of ISC dhcpd, dnsmasq or Kea; - is standard input",
		Long: importHelp, Args: wants("FILE"),
	}
	out := outputFlag(cmd)
	var f api.LeaseFile
	cmd.Flags().StringVar(&f.Format, "format", "", "isc, dnsmasq, kea, csv or json; found out where it is not given")
	cmd.Flags().BoolVar(&f.DryRun, "dry-run", false, "change nothing")
	cmd.Flags().BoolVarP(&f.All, "verbose", "v", false, "show every lease, not only those that are not simply taken over")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if f.Text, err = p.input(args[0]); err != nil {
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		r, err := c.ImportLeases(cmd.Context(), f)
		if err != nil {
			return err
		}
		return out.print(p.stdout, r, func(w io.Writer) { printLeaseReport(w, r) })
	}
	return cmd
}

// input reads a file; "-" is standard input.
func (p *program) input(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(p.stdin)
	}
	return os.ReadFile(name)
}

// leaseResults are what is counted, in the order in which people ask.
var leaseResults = []struct{ result, text string }{
	{api.LeaseImported, "imported"},
	{api.LeaseHeld, "held back"},
	{api.LeaseConflict, "in conflict"},
	{api.LeaseOutside, "outside"},
	{api.LeaseOld, "expired"},
	{api.LeaseV6, "of IPv6"},
	{api.LeaseBad, "not understood"},
}

func printLeaseReport(w io.Writer, r api.LeaseReport) {
	if len(r.Lines) > 0 {
		g := newGrid("LINE", "ADDRESS", "MAC", "RESULT", "WHY")
		for _, l := range r.Lines {
			g.row(fmt.Sprint(l.Line), addrText(l.Address), macText(l.MAC), l.Result, l.Why)
		}
		g.print(w)
	}
	var counts []string
	for _, c := range leaseResults {
		if n := r.Results[c.result]; n > 0 || c.result == api.LeaseImported {
			counts = append(counts, fmt.Sprintf("%d %s", n, c.text))
		}
	}
	fmt.Fprintf(w, "%s: %s\n", r.Format, strings.Join(counts, ", "))
	if r.DryRun {
		fmt.Fprintln(w, "nothing was changed: this was a dry run")
	}
}
