package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newServeCommand makes `muster serve`, the boot server.
func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "run the boot server", Args: wants(),
		RunE: func(*cobra.Command, []string) error { return errors.New("serve is not wired yet") },
	}
}
