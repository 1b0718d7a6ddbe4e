package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/images"
	"muster/roles/api"
)

func (p *program) newImagePruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune [IMAGE]", Short: "remove the versions that nothing uses, of one image or of all",
		Long: "Prune removes image versions that no node runs, no boot loads, no pool is pinned to, no rollout needs and\n" +
			"nobody has a shell in. The current version, the one before it and the newest ones (--keep) stay in any\n" +
			"case. It says of each version why it stays.",
		Args: wants("[IMAGE]"), ValidArgsFunction: p.completeArgs(p.imageBareNames),
	}
	out := outputFlag(cmd)
	var q api.PruneRequest
	cmd.Flags().IntVar(&q.Keep, "keep", 2, "how many of the newest versions of each image stay in any case")
	cmd.Flags().BoolVar(&q.DryRun, "dry-run", false, "show what would be removed, and remove nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if q.Keep < 1 {
			return usageError{cmd, fmt.Errorf("--keep %d: want 1 or more", q.Keep)}
		}
		if len(args) > 0 {
			if q.Name = args[0]; !images.ValidName(q.Name) {
				return usageError{cmd, fmt.Errorf("%q is not an image name (without a version)", q.Name)}
			}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		all, err := c.PruneImages(cmd.Context(), q)
		if err != nil {
			return err
		}
		return out.print(p.stdout, all, func(w io.Writer) { printPruned(w, all, q.DryRun) })
	}
	return cmd
}

func printPruned(w io.Writer, all []images.Pruned, dryRun bool) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no images")
		return
	}
	removed, done := "removed", "removed"
	if dryRun {
		removed, done = "would go", "would be removed"
	}
	var count int
	var freed int64
	g := newGrid("IMAGE", "RESULT", "FREED", "WHY")
	for _, v := range all {
		if v.Kept != "" {
			g.row(v.Ref.String(), "stays", "", v.Kept)
			continue
		}
		count, freed = count+1, freed+v.Freed
		g.row(v.Ref.String(), removed, sizeText(v.Freed), "nothing uses it")
	}
	g.print(w)
	fmt.Fprintf(w, "%s %s (%s), %d stay\n", plural(count, "version"), done, sizeText(freed), len(all)-count)
}

func (p *program) newImageRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove IMAGE:VERSION", Aliases: []string{"rm"}, Short: "remove one version that nothing uses",
		Args: wants("IMAGE:VERSION"), ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err == nil && ref.Version == 0 {
			err = fmt.Errorf("%s names no version: want %s:N", ref, ref)
		}
		if err != nil {
			return usageError{cmd, err}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := c.RemoveImage(cmd.Context(), ref); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s: removed\n", ref)
		return nil
	}
	return cmd
}

func (p *program) newImagePackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pack IMAGE[:VERSION]", Short: "make the squashfs that nodes with their root in RAM load (root: ram)",
		Long: "Pack makes the squashfs of a version, signed, unless it has one. Roles with root: ram need it; their images\n" +
			"get it when they are built. The version's tree stays as it is.",
		Args: wants("IMAGE[:VERSION]"), ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err != nil {
			return usageError{cmd, err}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		im, err := c.PackImage(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return out.print(p.stdout, im, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s squashfs of a root of %s\n", im.Ref, sizeText(im.Squashfs), sizeText(im.Size))
		})
	}
	return cmd
}
