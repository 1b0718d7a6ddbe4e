package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"muster/images"
)

func (p *program) newImageLogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "log IMAGE[:VERSION]", Short: "print the log of a build; without a version that of the latest, which may have failed",
		Args: wants("IMAGE[:VERSION]"), ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	tail := cmd.Flags().IntP("tail", "n", 0, "only the last so many lines; 0 means all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err != nil {
			return usageError{cmd, err}
		}
		if *tail < 0 {
			return usageError{cmd, fmt.Errorf("--tail is a number from 0")}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		// In memory: the server sends a few MiB at most.
		var text bytes.Buffer
		if err := c.ImageLog(cmd.Context(), ref, *tail, &text); err != nil {
			return err
		}
		for line := range strings.Lines(text.String()) {
			// A terminal's progress line overwrites itself; what is left of it is its last state.
			line = strings.TrimRight(line, "\r\n")
			line = line[strings.LastIndexByte(line, '\r')+1:]
			fmt.Fprintln(p.stdout, printable(line))
		}
		return nil
	}
	return cmd
}
