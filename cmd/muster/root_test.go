package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// newProgram is a program whose output is kept, without an environment.
func newProgram() (p *program, out, errs *bytes.Buffer) {
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	w := newWorld("")
	p = &program{
		stdin: strings.NewReader(""), stdout: out, stderr: errs,
		getenv: func(string) string { return "" }, now: w.clock,
	}
	return p, out, errs
}

// TestCommandsAreComplete: every command says what it is for and checks its arguments itself, since cobra's own
// errors would not be usage errors.
func TestCommandsAreComplete(t *testing.T) {
	p, _, _ := newProgram()
	seen := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		seen++
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q, want words without a full stop", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Args == nil || cmd.RunE == nil {
			t.Errorf("%s: Args or RunE is missing", cmd.CommandPath())
		}
		if strings.HasSuffix(cmd.Name(), "list") && cmd.Flags().Lookup("output") == nil {
			t.Errorf("%s: a listing without -o", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(p.newRootCommand())
	if seen < 35 {
		t.Errorf("only %d commands", seen)
	}
}

// TestMainIsShort: at most 30 lines, since nothing in it can be tested.
func TestMainIsShort(t *testing.T) {
	b, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n > 30 {
		t.Errorf("main.go has %d lines", n)
	}
}
