package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
)

func (p *program) newSetupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "setup --interface NAME", Short: "write the configuration for this host",
		Long: "Setup looks at an interface of this host, decides subnet, range, router, name servers and domain, says\n" +
			"why, and writes the configuration. It asks nothing and starts nothing.",
		Example: "  muster setup --interface eth1 && muster check && muster serve",
		Args:    wants(),
	}
	iface := cmd.Flags().StringP("interface", "i", "", "interface that the machines boot from")
	force := cmd.Flags().Bool("force", false, "replace a configuration that is there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *iface == "" {
			return usageError{cmd, fmt.Errorf("name the interface that the machines boot from: --interface eth1")}
		}
		found, err := config.Detect(*iface)
		if err != nil {
			return err
		}
		for _, n := range found.Notes {
			fmt.Fprintln(p.stdout, n)
		}
		if err := config.Write(p.config, found.Config, *force); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "written to %s; next: muster serve\n", p.config)
		return nil
	}
	return cmd
}

func (p *program) newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "check the configuration and change nothing",
		Long: "Check reads the configuration (--config, or FILE) as serve does, and reports every fault with its line.",
		Args: wants("[FILE]"),
		RunE: func(_ *cobra.Command, args []string) error {
			path := p.config
			if len(args) > 0 {
				path = args[0]
			}
			c, err := config.Load(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s: ok\n", path)
			for _, s := range c.DHCPD.Subnets {
				fmt.Fprintf(p.stdout, "subnet %v, range %v (%d addresses)\n", s.Subnet, s.Range, s.Range.Len())
			}
			return nil
		},
	}
}
