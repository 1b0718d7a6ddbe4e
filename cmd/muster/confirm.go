package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm tells what is lost, and has the operator type a word in before it goes on; with yes it only goes on. The
// question goes where errors go, so that the output stays what scripts read.
func (p *program) confirm(ctx context.Context, yes bool, word string, lost ...string) error {
	if yes {
		return nil
	}
	for _, l := range lost {
		fmt.Fprintln(p.stderr, printable(l))
	}
	fmt.Fprintf(p.stderr, "Type %s to go on: ", word)
	typed := make(chan string, 1)
	// The goroutine ends with the line, or with the program: a read of a terminal cannot be interrupted.
	go func() {
		line, _ := bufio.NewReader(p.stdin).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.stderr)
		return ctx.Err()
	case line := <-typed:
		if line == word {
			return nil
		}
		if line == "" {
			fmt.Fprintln(p.stderr)
			return fmt.Errorf("%s was not typed: nothing was changed (--yes does not ask)", word)
		}
		return fmt.Errorf("%q is not %s: nothing was changed", line, word)
	}
}
