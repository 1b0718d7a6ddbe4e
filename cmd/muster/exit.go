package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"muster/roles/api"
)

// The exit codes. They are part of the interface: scripts depend on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitInvalid     = 5
	exitTaken       = 6
	exitPermission  = 7
	exitInterrupted = 130
)

const exitHelp = `  0    done
  1    failed
  2    wrong usage: unknown command, flag or argument
  3    not found: no such node, pool, role, image or file
  4    no server answers
  5    invalid: a file with faults, or a request that makes no sense
  6    taken: the slot is occupied, the pool full, the address in use
  7    no permission
  130  interrupted`

// usageError is a command line that is wrong.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e usageError) Error() string {
	path := e.cmd.CommandPath()
	where := strings.TrimPrefix(strings.TrimPrefix(path, e.cmd.Root().Name()), " ")
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s%v (see: %s --help)", where, e.err, path)
}

func (e usageError) Unwrap() error { return e.err }

// errReported is returned by a command whose output has told already what is wrong.
var errReported = errors.New("reported")

func exitCode(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, fs.ErrInvalid):
		return exitInvalid
	case errors.Is(err, fs.ErrExist):
		return exitTaken
	case errors.Is(err, fs.ErrPermission):
		return exitPermission
	}
	return exitFailed
}

// printError writes err for a person: a fault a line, without what the io/fs errors add to a sentence.
func printError(w io.Writer, err error) {
	if errors.Is(err, errReported) || errors.Is(err, context.Canceled) || errors.As(err, new(exitStatus)) {
		return
	}
	for line := range strings.Lines(api.Sentence(err)) {
		fmt.Fprintf(w, "muster: %s\n", strings.TrimRight(printable(line), " "))
	}
}
