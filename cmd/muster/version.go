package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the versions of this program and of the server", Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(p.stdout, "muster %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			c, err := p.client(cmd)
			if err != nil {
				return err
			}
			v, err := c.Version(cmd.Context())
			if err != nil {
				fmt.Fprintf(p.stdout, "server: %v\n", err)
				return nil
			}
			fmt.Fprintf(p.stdout, "server %s, up %s\n", v.Version, age(p.now(), v.Started))
			return nil
		},
	}
}

func (p *program) newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "print the completion script of a shell",
		Example: "  muster completion bash > /etc/bash_completion.d/muster",
		Args:    wants("bash|zsh|fish"), ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.stdout)
			case "fish":
				return root.GenFishCompletion(p.stdout, true)
			}
			return usageError{cmd, fmt.Errorf("no completion for %q: want bash, zsh or fish", args[0])}
		},
	}
}
