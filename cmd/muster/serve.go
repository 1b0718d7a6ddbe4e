package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
)

// newServeCommand makes `muster serve`, the boot server.
func (p *program) newServeCommand() *cobra.Command {
	var agent string
	cmd := &cobra.Command{
		Use: "serve", Short: "run the boot server", Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(p.config)
			if err != nil {
				return err
			}
			if agent == "" {
				agent = findAgent()
			}
			return serve.Run(cmd.Context(), serve.Options{Config: c, Agent: agent, Version: version, Log: p.logger(c.Log)})
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "muster-init, which is built into images (default: found beside muster)")
	return cmd
}

// logger writes to standard error in the configured form.
func (p *program) logger(c config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	return slog.New(slog.NewTextHandler(p.stderr, o))
}

// findAgent looks for muster-init where make build and make install put it.
func findAgent() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	dir := filepath.Dir(exe)
	for _, f := range []string{filepath.Join(dir, "muster-init"), filepath.Join(dir, "..", "lib", "muster", "muster-init")} {
		if fi, err := os.Stat(f); err == nil && fi.Mode().IsRegular() {
			return f
		}
	}
	return ""
}
