package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"muster/images"
)

// importKinds are what an image can be made of, with whether a file or directory follows.
var importKinds = []struct {
	name string
	file bool
}{{"oci", false}, {"oci+http", false}, {"oci-layout", true}, {"tar", true}, {"dir", true}, {"iso", true}}

func (p *program) newImageImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import NAME FROM", Short: "make an image of a container image, an archive, a directory or an ISO",
		Long: "Import makes the image NAME of something that exists, and publishes it as the next version:\n\n" +
			"  oci:REFERENCE         a container image in a registry (oci+http: one without TLS)\n" +
			"  oci-layout:DIR[:TAG]  a container image in a directory\n" +
			"  tar:FILE              a root file system in an archive\n" +
			"  dir:DIR               a root file system in a directory\n" +
			"  iso:FILE              a distribution's live system\n\n" +
			"What a boot from the network needs and the image lacks (a kernel, an init) is named, and added where\n" +
			"--kernel or --package ask for it and the root has apt. Files are those of the server.",
		Example: "  muster image import shop oci:docker.io/library/debian:bookworm --kernel cloud --package systemd-sysv\n" +
			"  muster image import old tar:/root/old-server.tar.gz",
		Args: wants("NAME", "FROM"), ValidArgsFunction: p.completeArgs(p.imageBareNames, importPrefixes),
	}
	var r images.Recipe
	f := cmd.Flags()
	f.StringVar(&r.Kernel, "kernel", "", "add a kernel: full (every network card) or cloud (virtual ones)")
	f.StringArrayVar(&r.Packages, "package", nil, "add a Debian package; may be given several times")
	f.StringArrayVar(&r.Services, "service", nil, "enable a systemd unit; may be given several times")
	quiet := f.BoolP("quiet", "q", false, "show no progress, only the image")
	local := f.Bool("local", false, "import in this process, into the data directory of --config, without a server")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		name := args[0]
		if !images.ValidName(name) {
			return usageError{cmd, fmt.Errorf("%q is not an image name: want lower-case letters, digits and hyphens", name)}
		}
		if r.From, err = importFrom(args[1]); err != nil {
			return usageError{cmd, err}
		}
		if k := r.Kernel; k != "" && k != images.KernelFull && k != images.KernelCloud {
			return usageError{cmd, fmt.Errorf("--kernel %s: want full or cloud", k)}
		}
		if *local {
			return p.importLocal(cmd, name, r, *quiet)
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		return p.built(c.Import(cmd.Context(), name, r, p.progress(*quiet)))
	}
	return cmd
}

// importFrom checks what to import. A path becomes absolute: the server works in another directory.
func importFrom(from string) (string, error) {
	kind, what, _ := strings.Cut(from, ":")
	for _, k := range importKinds {
		if k.name != kind {
			continue
		}
		if what == "" {
			return "", fmt.Errorf("%q names nothing after the colon", from)
		}
		if !k.file {
			return from, nil
		}
		path, err := filepath.Abs(what)
		return kind + ":" + path, err
	}
	return "", fmt.Errorf("%q cannot be imported: want oci:REFERENCE, oci-layout:DIR, tar:FILE, dir:DIR or iso:FILE", from)
}
