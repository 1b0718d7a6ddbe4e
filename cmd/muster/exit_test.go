package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"muster/roles/api"
)

func TestExitCodes(t *testing.T) {
	cmd := &cobra.Command{Use: "muster"}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("broken"), 1},
		{errReported, 1},
		{usageError{cmd, fs.ErrNotExist}, 2},
		{fmt.Errorf("node: %w", fs.ErrNotExist), 3},
		{fmt.Errorf("x: %w", api.ErrUnreachable), 4},
		{errors.Join(fs.ErrInvalid, errors.New("x")), 5},
		{&api.Error{Kind: "exist"}, 6},
		{&fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}, 7},
		{fmt.Errorf("x: %w", context.Canceled), 130},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: exit code %d, want %d", tt.err, got, tt.want)
		}
		// Every code is in the help.
		if tt.want != 130 && !strings.Contains("\n"+exitHelp, fmt.Sprintf("\n  %d ", tt.want)) {
			t.Errorf("exit code %d is not in the help", tt.want)
		}
	}
}

func TestPrintError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errReported, ""},
		{context.Canceled, ""},
		{fmt.Errorf("pool %q does not exist: %w", "x", fs.ErrNotExist), "muster: pool \"x\" does not exist\n"},
		{errors.Join(errors.New("a:1: x"), errors.New("a:2: y")), "muster: a:1: x\nmuster: a:2: y\n"},
		{errors.New("from a node: \x1b[2J"), "muster: from a node: \uFFFD[2J\n"},
	} {
		var b bytes.Buffer
		printError(&b, tt.err)
		if b.String() != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, b.String(), tt.want)
		}
	}
}
