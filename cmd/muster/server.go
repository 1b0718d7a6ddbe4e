package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/cmd/muster/serve"
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
	c.Token, err = p.token()
	return c, err
}

// token is what --token-file has, or the file of the server on this machine where this user may read it.
func (p *program) token() (string, error) {
	file := p.tokenFile
	if file == "" {
		conf, err := config.Load(p.config)
		if err != nil {
			return "", nil // the server says that it wants one
		}
		file = filepath.Join(conf.Data, serve.TokenFile)
	}
	b, err := os.ReadFile(file)
	if err != nil && p.tokenFile != "" {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
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
