package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
)

// errClaimed is a boot that must not go on: another machine has its secrets.
var errClaimed = errors.New("another machine may have this node's secrets")

// claiming begins to claim. Secrets waits for what comes of it; stop ends it, and has to be called.
func (a *Agent) claiming(ctx context.Context, s *Spec) (secrets func() ([]File, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var files []File
	var err error
	done := make(chan struct{})
	go func() { // ends with its one call, or by stop
		defer close(done)
		files, err = a.claim(ctx, s)
	}()
	return func() ([]File, error) { <-done; return files, err }, func() { cancel(); <-done }
}

// claim gets the files with this boot's secrets; none where the spec says that there is nothing to claim. When
// the server refuses, the error wraps errClaimed: the token was redeemed with another key.
func (a *Agent) claim(ctx context.Context, s *Spec) ([]File, error) {
	if s.Secure == "" {
		return nil, nil
	}
	if a.params.Pin == "" {
		return nil, fmt.Errorf("agent: the kernel command line has no %s=: "+
			"secrets are taken from no server but the one with that key: %w", ParamPin, fs.ErrInvalid)
	}
	servers, err := secureServers(s.Secure, a.params.Servers)
	if err != nil {
		return nil, fmt.Errorf("agent: boot spec: secure: %w", err)
	}
	if a.key == "" { // once: this machine's proof in every try
		key := make([]byte, 32)
		rand.Read(key)
		a.key = hex.EncodeToString(key)
	}
	c := &client{http: a.HTTPS, servers: servers}
	if c.http == nil {
		c.http = secureClient(a.params.Pin)
		defer c.http.CloseIdleConnections()
	}
	var claimed Claimed
	err = c.call(ctx, callTimeout, PathClaim, Claim{MAC: a.params.MAC, Token: a.params.Token, Key: a.key}, &claimed)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("secrets: %w: somebody else redeemed this boot's token: %w", errClaimed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	if err := checkFiles(claimed.Files); err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return claimed.Files, nil
}
