package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// output is the flag -o.
type output struct{ format string }

// outputFlag adds -o to cmd.
func outputFlag(cmd *cobra.Command) *output {
	o := &output{"table"}
	cmd.Flags().VarP(o, "output", "o", "table, json or yaml")
	complete := cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // The flag was added two lines above.
	}
	return o
}

// String, Set and Type implement pflag.Value.
func (o *output) String() string { return o.format }
func (o *output) Type() string   { return "FORMAT" }
func (o *output) Set(s string) error {
	if s != "table" && s != "json" && s != "yaml" {
		return fmt.Errorf("want table, json or yaml")
	}
	o.format = s
	return nil
}

// print writes v as JSON or YAML, or calls human for the table.
func (o *output) print(w io.Writer, v any, human func(io.Writer)) error {
	switch o.format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case "yaml":
		b, err := toYAML(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	human(w)
	return nil
}

// grid is a table whose columns are as wide as their widest cell.
type grid struct {
	buf bytes.Buffer
	tw  *tabwriter.Writer
}

func newGrid(head ...string) *grid {
	g := &grid{}
	g.tw = tabwriter.NewWriter(&g.buf, 0, 8, 2, ' ', 0)
	if len(head) > 0 {
		g.row(head...)
	}
	return g
}

// row adds a line. An empty cell is a dash, unless nothing follows it.
func (g *grid) row(cells ...string) {
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	for i, c := range cells {
		if cells[i] = printable(c); c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(g.tw, strings.Join(cells, "\t"))
}

// field adds a line of a description, if there is something to say: a name and its value.
func (g *grid) field(name, value string) {
	if value != "" {
		g.row(name, value)
	}
}

// print writes the table without blanks at the ends of its lines.
func (g *grid) print(w io.Writer) {
	_ = g.tw.Flush() // Into memory.
	for line := range strings.Lines(g.buf.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// printable makes a text safe for a terminal: what machines say of themselves ends up on the operator's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
