package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
	"muster/images"
	"muster/roles/api"
)

func (p *program) newImageVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify IMAGE[:VERSION]", Short: "check that every file of an image is as it was published",
		Long: "Verify reads every file of an image and compares it with the image's manifest, and that with its\n" +
			"signature: one flipped bit, one changed mode, one file too many or too few is a problem. It exits with 1\n" +
			"when there is one.",
		Args: wants("IMAGE[:VERSION]"), ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	out := outputFlag(cmd)
	local := cmd.Flags().Bool("local", false, "check in this process, in the data directory of --config, without a server")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err != nil {
			return usageError{cmd, err}
		}
		v, err := p.verify(cmd, ref, *local)
		if err != nil {
			return err
		}
		if err := out.print(p.stdout, v, func(w io.Writer) { printVerification(w, v) }); err != nil {
			return err
		}
		if len(v.Problems) > 0 {
			return errReported
		}
		return nil
	}
	return cmd
}

func (p *program) verify(cmd *cobra.Command, ref images.Ref, local bool) (api.Verification, error) {
	if local {
		return p.verifyLocal(cmd.Context(), ref)
	}
	c, err := p.client(cmd)
	if err != nil {
		return api.Verification{}, err
	}
	return c.VerifyImage(cmd.Context(), ref)
}

func (p *program) verifyLocal(ctx context.Context, ref images.Ref) (api.Verification, error) {
	conf, err := config.Load(p.config)
	if err != nil {
		return api.Verification{}, err
	}
	if _, err := localCatalog(conf).Find(ref); err != nil {
		return api.Verification{}, err
	}
	c, err := serve.LocalCatalog(conf)
	if err != nil {
		return api.Verification{}, err
	}
	im, err := c.Find(ref)
	if err != nil {
		return api.Verification{}, err
	}
	problems, err := c.Verify(ctx, im.Ref)
	return api.Verified(im, problems), err
}

func printVerification(w io.Writer, v api.Verification) {
	for _, p := range v.Problems {
		fmt.Fprintf(w, "%s: %s\n", printable(p.Path), printable(p.What))
	}
	if len(v.Problems) > 0 {
		fmt.Fprintf(w, "%s: %s\n", v.Image.Ref, plural(len(v.Problems), "problem"))
		return
	}
	signed := "signed by this server"
	if !v.Image.Signed {
		signed = "but it carries no signature of this server"
	}
	fmt.Fprintf(w, "%s: all %s are as they were published, %s\n", v.Image.Ref, plural(v.Image.Files, "file"), signed)
}

func (p *program) newImageDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "show what differs between two versions: packages, then files",
		Example: "  muster image diff web:7 web:8",
		Args:    wants("OLD", "NEW"), ValidArgsFunction: p.completeArgs(p.imageNames, p.imageNames),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var refs [2]images.Ref
		for i, a := range args {
			var err error
			if refs[i], err = images.ParseRef(a); err != nil {
				return usageError{cmd, err}
			}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		d, err := c.DiffImages(cmd.Context(), refs[0], refs[1])
		if err != nil {
			return err
		}
		return out.print(p.stdout, d, func(w io.Writer) { printDiff(w, refs[0].String(), refs[1].String(), d) })
	}
	return cmd
}

// pathInRoot is a changed path as the root has it. What is beside the root, or is quoted, stays as it is.
func pathInRoot(path string) string {
	switch {
	case path == ".":
		return "/"
	case strings.HasPrefix(path, "../"), strings.HasPrefix(path, `"`):
		return path
	}
	return "/" + path
}

func printDiff(w io.Writer, a, b string, d images.Diff) {
	if len(d.Packages) > 0 {
		g := newGrid("PACKAGE", a, b)
		for _, c := range d.Packages {
			g.row(c.Name, c.Old, c.New)
		}
		g.print(w)
		fmt.Fprintln(w)
	}
	if len(d.Files) > 0 {
		g := newGrid("FILE", "WHAT")
		for _, f := range d.Files {
			g.row(pathInRoot(f.Path), f.What)
		}
		g.print(w)
		fmt.Fprintln(w)
	}
	if len(d.Packages)+len(d.Files) == 0 {
		fmt.Fprintf(w, "%s and %s have the same packages and files\n", a, b)
		return
	}
	fmt.Fprintf(w, "%s and %s differ between %s and %s\n", plural(len(d.Packages), "package"), plural(len(d.Files), "file"), a, b)
}
