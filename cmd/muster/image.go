package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/images"
	"muster/roles/api"
)

func (p *program) newImageCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "image", Short: "root file systems: build, import, check, switch, remove, …"})
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the published images", Args: wants()}
	out := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		ims, err := c.ListImages(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, ims, func(w io.Writer) { printImages(w, ims, p.now()) })
	}
	cmd.AddCommand(list, p.newImageShowCommand(), p.newImageBuildCommand(), p.newImageImportCommand(),
		p.newImagePublishCommand(), p.newImageRollbackCommand(), p.newImageVerifyCommand(), p.newImageDiffCommand(),
		p.newImageLogCommand(), p.newImagePruneCommand(), p.newImageRemoveCommand(), p.newImagePackCommand(),
		p.newImageShellCommand())
	return cmd
}

func printImages(w io.Writer, ims []images.Image, now time.Time) {
	if len(ims) == 0 {
		fmt.Fprintln(w, "no images: build one with muster image build ROLE")
		return
	}
	g := newGrid("IMAGE", "CURRENT", "SIGNED", "FLAVOUR", "KERNEL", "SIZE", "RAM", "FILES", "BUILT")
	for _, im := range ims {
		ram := ""
		if im.Squashfs > 0 {
			ram = sizeText(im.Squashfs)
		}
		g.row(im.Ref.String(), yes(im.Current), yes(im.Signed), im.Flavour, im.Kernel, sizeText(im.Size), ram, fmt.Sprint(im.Files), age(now, im.Built)+" ago")
	}
	g.print(w)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (p *program) newImageShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show IMAGE[:VERSION]", Short: "show a published image; without a version the current one",
		Args: wants("IMAGE"), ValidArgsFunction: p.completeArgs(p.imageNames),
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
		im, err := c.Image(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return out.print(p.stdout, im, func(w io.Writer) { printImage(w, im) })
	}
	return cmd
}

func printImage(w io.Writer, im images.Image) {
	g := newGrid()
	name := im.Ref.String()
	if im.Current {
		name += " (current)"
	}
	g.field("image", name)
	g.field("digest", im.Digest)
	g.field("signed", map[bool]string{true: "by this server", false: "no"}[im.Signed])
	g.field("from", im.From)
	g.field("built", stamp(im.Built))
	g.field("kernel", join(im.Kernel, im.Flavour, im.Arch, sizeText(im.KernelSize)))
	g.field("initrd", sizeText(im.InitrdSize))
	g.field("root", fmt.Sprintf("%s in %d files", sizeText(im.Size), im.Files))
	if im.Squashfs > 0 {
		g.field("ram", fmt.Sprintf("%s squashfs (%d %% of the root)", sizeText(im.Squashfs), 100*im.Squashfs/max(im.Size, 1)))
	}
	g.print(w)
}

func (p *program) newImageBuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "build ROLE", Short: "build and publish the image of a role",
		Long: "Build makes the image of a role on the server and publishes it as the next version. It shows the\n" +
			"progress; Ctrl-C cancels the build, which leaves nothing.",
		Args: wants("ROLE"), ValidArgsFunction: p.completeArgs(p.roleNames),
	}
	quiet := cmd.Flags().BoolP("quiet", "q", false, "show no progress, only the image")
	missing := cmd.Flags().Bool("if-missing", false, "build only if the role has no image yet")
	local := cmd.Flags().Bool("local", false, "build in this process, into the data directory of --config, without a server")
	file := cmd.Flags().StringP("file", "f", "", "with --local: the declaration that has the role; default: the library's role")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *local {
			return p.buildLocal(cmd, args[0], *file, *quiet, *missing)
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if *missing {
			if im, ok, err := currentImage(cmd, c, args[0]); ok || err != nil {
				return p.built(im, err)
			}
		}
		return p.built(c.Build(cmd.Context(), args[0], p.progress(*quiet)))
	}
	return cmd
}

// currentImage finds the published image of a role, if there is one.
func currentImage(cmd *cobra.Command, c *api.Client, role string) (im images.Image, ok bool, err error) {
	r, err := c.Role(cmd.Context(), role)
	if err != nil {
		return im, false, err
	}
	im, err = c.Image(cmd.Context(), images.Ref{Name: r.ImageName()})
	if errors.Is(err, fs.ErrNotExist) {
		return im, false, nil
	}
	return im, err == nil, err
}

func (p *program) built(im images.Image, err error) error {
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: %s in %d files, kernel %s\n", im.Ref, sizeText(im.Size), im.Files, im.Kernel)
	return nil
}

// progressPause is the least time between two lines about one step: nobody reads faster, and the log has all.
const progressPause = 200 * time.Millisecond

// progress shows how a build goes, unless it is to be quiet.
func (p *program) progress(quiet bool) func(api.BuildProgress) {
	began := p.now()
	var step string
	var at time.Time
	return func(b api.BuildProgress) {
		now := p.now()
		if quiet || b.Step == step && now.Sub(at) < progressPause {
			return
		}
		step, at = b.Step, now
		fmt.Fprintln(p.stdout, progressLine(now.Sub(began), b))
	}
}

// progressLine is a line of a build: when, how far, what, and how long to go.
func progressLine(after time.Duration, b api.BuildProgress) string {
	percent, left := "", ""
	if b.Percent > 0 {
		percent = fmt.Sprintf("%3d%%", b.Percent)
	}
	if b.Remaining > 0 {
		left = fmt.Sprintf("(%s left)", short(time.Duration(b.Remaining)))
	}
	return strings.TrimRight(fmt.Sprintf("%8s  %4s  %-10s  %s", seconds(after), percent, b.Step, join(printable(b.Message), left)), " ")
}
