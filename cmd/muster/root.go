package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
)

// program is the whole command line, so that tests can run it as main does.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time

	// Persistent flags.
	config, socket, server, tokenFile, lab string
}

// run executes one command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.newRootCommand()
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		printError(p.stderr, err)
	}
	return exitCode(err)
}

const rootHelp = `Muster brings a rack of diskless machines to life from nothing but power.

"muster serve" is the boot server: DHCP, TFTP, HTTP boot and the API. The other commands ask it or change
the rack through its socket. A NODE is a MAC address, or the name of the slot that the machine occupies.

Exit codes:
` + exitHelp

func (p *program) newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:     "muster",
		Short:   "boot and provision a rack of diskless machines",
		Long:    rootHelp,
		Version: version,
	}
	asGroup(root)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	// Two blanks between the columns, as in every table: a long name would touch its text.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "NamePadding }} {{", "NamePadding }}  {{"))
	root.SetVersionTemplate("muster {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd, err} })

	f := root.PersistentFlags()
	f.StringVar(&p.config, "config", cmp.Or(p.getenv("MUSTER_CONFIG"), config.DefaultPath), "configuration of the server (env MUSTER_CONFIG)")
	f.StringVar(&p.socket, "socket", "", "unix socket of the server (env MUSTER_SOCKET; default: api.socket of the configuration)")
	f.StringVar(&p.server, "server", "", "URL of the server, instead of a socket: http://127.0.0.1:8081")
	f.StringVar(&p.tokenFile, "token-file", "", "file with the token that --server wants (default: api.token in the configured data directory)")

	root.AddGroup(
		&cobra.Group{ID: "server", Title: "The server:"},
		&cobra.Group{ID: "rack", Title: "The rack:"},
		&cobra.Group{ID: "watch", Title: "What goes on:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("server", p.newServeCommand(), p.newSetupCommand(), p.newCheckCommand(), p.newDoctorCommand())
	add("rack", p.newApplyCommand(), p.newExportCommand(), p.newNodeCommand(), p.newPoolCommand(),
		p.newRoleCommand(), p.newImageCommand(), p.newStorageCommand(), p.newSecretCommand())
	add("watch", p.newEventsCommand(), p.newLeaseCommand(), p.newLabCommand())
	root.AddCommand(p.newCompletionCommand(), p.newVersionCommand())
	return root
}

// asGroup makes cmd one that only has subcommands: alone it shows its help, and a wrong name is a usage error.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("there is no command %q", args[0])
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(s, " or "))
		}
		return usageError{cmd, err}
	}
	// Above 1, "lst" finds "list" but "x" finds nothing.
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

// wants checks that a command gets its arguments: their names, those in brackets optional.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for i, name := range names {
			if i >= len(args) && !strings.HasPrefix(name, "[") {
				return usageError{cmd, fmt.Errorf("%s is missing", name)}
			}
		}
		if len(args) > len(names) {
			return usageError{cmd, fmt.Errorf("%q is one argument too many", args[len(names)])}
		}
		return nil
	}
}
