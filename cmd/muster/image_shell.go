package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
	"muster/images"
)

func (p *program) newImageShellCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shell IMAGE[:VERSION] [-- COMMAND…]", Short: "a throw-away shell in an image, on this machine",
		Long: "Shell runs a shell, or the command after --, in an image of the data directory of --config. What it writes\n" +
			"is in memory and gone at its end: the image never changes, and nobody removes it before. It has this machine's\n" +
			"network. It uses systemd-nspawn where that works, and a chroot in namespaces of its own elsewhere. The exit\n" +
			"code is the command's. Needs root.",
		Example: "  sudo muster image shell web:8\n  sudo muster image shell web -- dpkg -l nginx-light",
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at == 1 || at < 0 && len(args) == 1 {
				return nil
			}
			return wants("IMAGE[:VERSION]")(cmd, args)
		},
		ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err != nil {
			return usageError{cmd, err}
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("image shell needs root: it mounts the image: %w", fs.ErrPermission)
		}
		c, err := config.Load(p.config)
		if err != nil {
			return err
		}
		im, err := localCatalog(c).Find(ref)
		if err != nil {
			return err
		}
		release, err := serve.Hold(im)
		if err != nil {
			return fmt.Errorf("image shell: %w", err)
		}
		defer release()
		box := sandbox{
			tree: filepath.Join(im.Dir, images.TreeDir), name: im.Ref.String(), term: p.getenv("TERM"),
			stdin: p.stdin, stdout: p.stdout, stderr: p.stderr,
		}
		if err = box.run(cmd.Context(), args[1:]); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("image shell %s: %w", im.Ref, err)
		}
		return err
	}
	return cmd
}

// shellArgs is what a sandbox runs: the command, or the first shell that the image has.
func shellArgs(tree string, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, sh := range []string{"usr/bin/bash", "bin/bash", "usr/bin/sh", "bin/sh"} {
		// Lstat, where bin itself is a link within the root: what the shell's own link leads to is the image's business.
		if _, err := root.Lstat(sh); err == nil {
			return []string{"/" + sh}, nil
		}
	}
	return nil, fmt.Errorf("it has no shell (%s): name a command after --: %w", strings.Join([]string{"bash", "sh"}, ", "), fs.ErrNotExist)
}
