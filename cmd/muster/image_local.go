package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
	"muster/images"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/declare"
)

// buildLocal is muster image build --local.
func (p *program) buildLocal(cmd *cobra.Command, role, file string, quiet, missing bool) error {
	c, err := config.Load(p.config)
	if err != nil {
		return err
	}
	var d roles.Declaration
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if d, err = declare.Parse(b, file); err != nil {
			return err
		}
	}
	if missing {
		catalog := images.Catalog{Dir: filepath.Join(c.Data, "images")}
		if im, err := catalog.Find(images.Ref{Name: role}); !errors.Is(err, fs.ErrNotExist) {
			return p.built(im, err)
		}
	}
	began := p.now()
	im, err := serve.BuildLocal(cmd.Context(), c, findAgent(), d, role, func(b api.BuildProgress) {
		if !quiet {
			fmt.Fprintln(p.stdout, progressLine(p.now().Sub(began), b))
		}
	})
	return p.built(im, err)
}
