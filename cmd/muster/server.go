package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/roles/api"
)

// client finds the server: --server, or --socket, or MUSTER_SOCKET, or the configuration's socket.
func (p *program) client(cmd *cobra.Command) (*api.Client, error) {
	if p.server != "" && p.socket != "" {
		return nil, usageError{cmd, fmt.Errorf("--server and --socket are two servers: give one")}
	}
	if p.server == "" {
		path, err := p.socketPath(cmd)
		if err != nil {
			return nil, err
		}
		return api.Dial(path), nil
	}
	c, err := api.DialURL(p.server)
	if err != nil {
		return nil, usageError{cmd, fmt.Errorf("--server: %w", err)}
	}
	if p.tokenFile != "" {
		b, err := os.ReadFile(p.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		c.Token = strings.TrimSpace(string(b))
	}
	return c, nil
}

// socketPath is the server's socket. A configuration that is not there, not readable or faulty names none,
// unless it was asked for: an operator without root has no business in it.
func (p *program) socketPath(cmd *cobra.Command) (string, error) {
	if p.socket != "" {
		return p.socket, nil
	}
	if s := p.getenv("MUSTER_SOCKET"); s != "" {
		return s, nil
	}
	c, err := config.Load(p.config)
	if err == nil {
		return c.API.Socket, nil
	}
	if cmd.Flags().Changed("config") || p.getenv("MUSTER_CONFIG") != "" {
		return "", err
	}
	return config.Default().API.Socket, nil
}
