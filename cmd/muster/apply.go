package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"muster/roles"
)

func (p *program) newApplyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "make the rack what a file declares: roles, pools and nodes",
		Long: "Apply makes the rack what a YAML file declares, and shows what it changes. It changes all or nothing,\n" +
			"and applying the same file again changes nothing. What the file does not mention stays, unless\n" +
			"--prune is given.",
		Example: "  muster apply -f rack.yaml --dry-run\n  muster export > rack.yaml",
		Args:    wants(),
	}
	out := outputFlag(cmd)
	var o roles.ApplyOptions
	file := cmd.Flags().StringP("file", "f", "", "the YAML file; - is the standard input")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "delete the declared roles and pools that the file does not have")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *file == "" {
			return usageError{cmd, fmt.Errorf("name a file: -f rack.yaml, or -f - for the standard input")}
		}
		text, name, err := p.readDeclaration(*file)
		if err != nil {
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		changes, err := c.Apply(cmd.Context(), text, name, o)
		if err != nil {
			return err
		}
		return out.print(p.stdout, changes, func(w io.Writer) { printChanges(w, changes, o.DryRun) })
	}
	return cmd
}

// readDeclaration reads the file and gives the name that messages use for it.
func (p *program) readDeclaration(file string) (text []byte, name string, err error) {
	if file == "-" {
		text, err = io.ReadAll(p.stdin)
		return text, "stdin", err
	}
	text, err = os.ReadFile(file)
	return text, filepath.Base(file), err
}

// printChanges writes the diff: + create, ~ update with its fields, - delete.
func printChanges(w io.Writer, changes []roles.Change, dryRun bool) {
	count := map[string]int{}
	for _, c := range changes {
		count[c.Action]++
		sign, ok := map[string]string{"create": "+", "update": "~", "delete": "-"}[c.Action]
		if !ok {
			continue
		}
		fmt.Fprintf(w, "%s %s %s\n", sign, c.Kind, printable(c.Name))
		g := newGrid()
		for _, f := range c.Fields {
			switch {
			case c.Action == "create" && f.Field == "name" || c.Action == "create" && f.Field == "mac":
			case f.Old == "":
				g.row("    "+f.Field, f.New)
			case f.New == "":
				g.row("    "+f.Field, f.Old+" → (none)")
			default:
				g.row("    "+f.Field, f.Old+" → "+f.New)
			}
		}
		g.print(w)
		if c.Note != "" {
			fmt.Fprintf(w, "    ! %s\n", printable(c.Note))
		}
	}
	fmt.Fprintf(w, "%d created, %d updated, %d deleted, %d unchanged", count["create"], count["update"], count["delete"], count["unchanged"])
	if dryRun {
		fmt.Fprint(w, " (dry run: nothing was changed)")
	}
	fmt.Fprintln(w)
}

func (p *program) newExportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "print the declared rack as the YAML that apply reads", Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(cmd)
			if err != nil {
				return err
			}
			text, err := c.Export(cmd.Context())
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(text)
			return err
		},
	}
}
