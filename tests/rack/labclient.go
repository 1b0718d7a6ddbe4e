package rack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"muster/roles"
)

// LabClient talks to a rack that ServeLab serves. Its errors wrap the same io/fs kinds as the rack's own.
type LabClient struct {
	// Socket is the path of the unix socket.
	Socket string
}

// Machines lists the machines.
func (c LabClient) Machines(ctx context.Context) ([]LabMachine, error) {
	var list []LabMachine
	err := c.call(ctx, "GET", "/machines", nil, &list)
	return list, err
}

// Add puts a machine into the rack, switched off.
func (c LabClient) Add(ctx context.Context, spec MachineSpec) (LabMachine, error) {
	var m LabMachine
	err := c.call(ctx, "POST", "/machines", spec, &m)
	return m, err
}

// Machine shows a machine.
func (c LabClient) Machine(ctx context.Context, mac roles.MAC) (LabMachine, error) {
	var m LabMachine
	err := c.call(ctx, "GET", "/machines/"+mac.String(), nil, &m)
	return m, err
}

// Power switches a machine: action is "on", "off" or "reset".
func (c LabClient) Power(ctx context.Context, mac roles.MAC, action string) (LabMachine, error) {
	var m LabMachine
	err := c.call(ctx, "POST", "/machines/"+mac.String()+"/"+action, nil, &m)
	return m, err
}

// Console copies a machine's console to w; with follow it goes on until ctx ends or the rack closes, and then
// returns nil.
func (c LabClient) Console(ctx context.Context, mac roles.MAC, follow bool, w io.Writer) error {
	path := "/machines/" + mac.String() + "/console"
	if follow {
		path += "?follow=1"
	}
	resp, err := c.do(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	if follow && (ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil
	}
	return err
}

// call sends in as JSON, nil for none, and reads the answer into out.
func (c LabClient) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("rack: lab: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("rack: lab: %s %s: %w", method, path, err)
	}
	return nil
}

// do sends a request; an answer that is an error becomes one.
func (c LabClient) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, body)
	if err != nil {
		return nil, fmt.Errorf("rack: lab: %w", err)
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("rack: no lab at %s (start one with muster lab up): %w", c.Socket, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxSpec))
	e := &remoteError{text: strings.TrimSpace(string(text))}
	if e.text == "" {
		e.text = "rack: lab: " + resp.Status
	}
	for _, s := range labStatus {
		if s.status == resp.StatusCode {
			e.kind = s.kind
		}
	}
	return nil, e
}

// remoteError is an error of the rack, told over HTTP: its text and its kind, nil for none.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
