package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Manifest is the first member of an archive, ManifestName: what it is of.
type Manifest struct {
	// Format is 1.
	Format int    `json:"format"`
	Pool   string `json:"pool"`
	// Half is the slot whose disk it was read from, At the moment of the snapshot.
	Half string    `json:"half"`
	At   time.Time `json:"at"`
	// Held is how long writes were held back for it, in milliseconds.
	Held float64 `json:"heldMilliseconds"`
	// Paths are the directories that it has: volumes/www, state/web-01.
	Paths []string `json:"paths"`
}

// ManifestName is the name of an archive's first member.
const ManifestName = "muster-backup.json"

const manifestFile = copyDir + "/" + ManifestName

// pack writes the archive of a manifest and of the directories volumes and state below dir to w. What changes while it
// is read, or can't be read, is an error.
func pack(ctx context.Context, manifest, dir string, w io.Writer) error {
	tar := []string{
		"--create", "--format=pax", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--one-file-system",
		"-C", filepath.Dir(manifest), path.Base(manifest), "-C", dir, "volumes", "state",
	}
	return pipeline(ctx, nil, w, gently("tar", tar...), gently("zstd", "-q", "-3", "-T0", "-c"))
}

// unpack takes directories from an archive and makes them below dir. One that the archive does not have is an error.
func unpack(ctx context.Context, r io.Reader, dir string, paths []string) error {
	tar := []string{
		"--extract", "--numeric-owner", "--same-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*", "--acls", "--delay-directory-restore",
		"-C", dir, "--",
	}
	return pipeline(ctx, r, io.Discard, gently("zstd", "-q", "-d", "-c"), gently("tar", append(tar, paths...)...))
}

// gently runs a program after everybody else: who is served comes first.
func gently(name string, args ...string) []string {
	return slices.Concat([]string{"nice", "-n", "10", name}, args)
}

// pipeline runs programs, the output of each the input of the next. All are gone when it returns; the error has what the
// first that failed said. However long out takes for what the last one said, all of it gets there: in and out must return
// when ctx ends.
func pipeline(ctx context.Context, in io.Reader, out io.Writer, commands ...[]string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var cmds []*exec.Cmd
	var said []*bytes.Buffer
	var ours []*os.File // the ends of pipes, which the programs have when they run
	defer func() { closeAll(ours) }()
	for i, c := range commands {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Env = append(cmd.Environ(), "LC_ALL=C")
		said = append(said, &bytes.Buffer{})
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, said[i]
		if i > 0 {
			r, w, err := os.Pipe()
			if err != nil {
				return fmt.Errorf("pair: %w", err)
			}
			ours = append(ours, r, w)
			cmds[i-1].Stdout, cmd.Stdin = w, r
		}
		cmds = append(cmds, cmd)
	}
	var errs []error
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			cancel() // those that run
			errs = append(errs, err)
		}
	}
	closeAll(ours) // or nobody would see an end
	for i, cmd := range cmds {
		if cmd.Process == nil {
			continue
		}
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = exitError(cmd, err, strings.TrimSpace(said[i].String()))
		}
		errs = append(errs, err)
	}
	return firstFault(errs)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // or it is closed already
	}
}

// firstFault gives the error that the others follow from: one that is not the end of a neighbour.
func firstFault(errs []error) error {
	var all []error
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	for _, err := range all {
		if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code > 0 && !strings.Contains(exit.Output, "Broken pipe") {
			return err
		}
	}
	return all[0]
}
