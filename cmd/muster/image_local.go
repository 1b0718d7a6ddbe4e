package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
	"muster/images"
	"muster/roles"
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
		if im, err := localCatalog(c).Find(images.Ref{Name: role}); !errors.Is(err, fs.ErrNotExist) {
			return p.built(im, err)
		}
	}
	return p.built(serve.BuildLocal(cmd.Context(), c, findAgent(), d, role, p.progress(quiet)))
}

// localCatalog is the catalog in the data directory of c, for a look: serve.LocalCatalog makes the server's keys
// where there are none yet.
func localCatalog(c *config.Config) *images.Catalog {
	return &images.Catalog{Dir: filepath.Join(c.Data, "images")}
}

// importLocal is muster image import --local.
func (p *program) importLocal(cmd *cobra.Command, name string, r images.Recipe, quiet bool) error {
	c, err := config.Load(p.config)
	if err != nil {
		return err
	}
	return p.built(serve.ImportLocal(cmd.Context(), c, findAgent(), name, r, p.progress(quiet)))
}
