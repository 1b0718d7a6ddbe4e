package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/roles/api"
)

func (p *program) newDoctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "examine a running server as a technician would",
		Long: "Doctor examines the running server: other DHCP servers on the segment, TFTP, HTTP, boot programs,\n" +
			"exports, clock and disk. It fails (exit 1) when one of its checks does.",
		Args: wants(),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		found, err := c.Doctor(cmd.Context())
		if err != nil {
			return err
		}
		if err := out.print(p.stdout, found, func(w io.Writer) { printFindings(w, found) }); err != nil {
			return err
		}
		for _, f := range found {
			if f.Status == api.StatusFail {
				return errReported
			}
		}
		return nil
	}
	return cmd
}

func printFindings(w io.Writer, found []api.Finding) {
	g := newGrid()
	count := map[string]int{}
	for _, f := range found {
		count[f.Status]++
		g.row(f.Status, f.Check, f.Detail)
		if f.Fix != "" {
			g.row(" ", " ", "→ "+f.Fix)
		}
	}
	g.print(w)
	fmt.Fprintf(w, "%d ok, %d to look at, %d failed\n", count[api.StatusOK], count[api.StatusWarn], count[api.StatusFail])
}
