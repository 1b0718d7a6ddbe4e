package power

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"muster/roles"
)

// labTimeout bounds one request of a caller that set no deadline: the virtual rack answers as soon as QEMU
// has started or is gone, which on a busy machine takes seconds.
const labTimeout = 30 * time.Second

// maxLabReply bounds what is read of a reply, in bytes.
const maxLabReply = 4 << 10

// Lab is the driver of the virtual rack. A target is the machine's MAC. The rack's side of the socket is
//
//	POST /machines/{target}/on    2xx
//	POST /machines/{target}/off   2xx
//	GET  /machines/{target}       200 {"on": true}
//
// with 404 for a machine that is not there, and the reason as text in the body of every failure.
type Lab struct {
	// Socket is the path of the rack's unix socket. Required.
	Socket string
}

var _ roles.Driver = (*Lab)(nil)

// On implements roles.Driver.
func (l *Lab) On(ctx context.Context, target string) error {
	return l.call(ctx, http.MethodPost, target, "/on", nil)
}

// Off implements roles.Driver.
func (l *Lab) Off(ctx context.Context, target string) error {
	return l.call(ctx, http.MethodPost, target, "/off", nil)
}

// Status implements roles.Driver.
func (l *Lab) Status(ctx context.Context, target string) (bool, error) {
	var reply struct {
		On *bool `json:"on"`
	}
	if err := l.call(ctx, http.MethodGet, target, "", &reply); err != nil {
		return false, err
	}
	if reply.On == nil {
		return false, fmt.Errorf("power: lab: the rack does not say whether %s is on", target)
	}
	return *reply.On, nil
}

// call makes one request and reads a successful answer into reply, if that is not nil. The error wraps the
// io/fs error that the status stands for.
func (l *Lab) call(ctx context.Context, method, target, action string, reply any) error {
	if target == "" {
		return fmt.Errorf("power: lab: no target: set the node's power target to its MAC: %w", fs.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, labTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://lab/machines/"+url.PathEscape(target)+action, nil)
	if err != nil {
		return fmt.Errorf("power: lab: target %q: %w: %w", target, err, fs.ErrInvalid)
	}
	resp, err := l.client().Do(req)
	if err != nil {
		return l.unreachable(err)
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxLabReply)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(target, resp, body)
	}
	if reply == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(reply); err != nil {
		return fmt.Errorf("power: lab: answer for %s: %w", target, err)
	}
	return nil
}

// client leaves no connection behind.
func (l *Lab) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.Socket)
		},
	}}
}

// unreachable says what to do when there is no answer.
func (l *Lab) unreachable(err error) error {
	var u *url.Error // its text names a host that does not exist
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		// Not %w: that the socket does not exist does not mean that the machine does not.
		return fmt.Errorf("power: lab: no virtual rack listens on %s: start one with muster lab up (%v)", l.Socket, err)
	}
	return fmt.Errorf("power: lab: %w", err)
}

// refusal turns a status into the error that it stands for, with the rack's first line as the reason.
func refusal(target string, resp *http.Response, body io.Reader) error {
	line, _ := bufio.NewReader(body).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		line = resp.Status
	}
	kinds := map[int]error{
		http.StatusNotFound:   fs.ErrNotExist,
		http.StatusConflict:   fs.ErrExist,
		http.StatusBadRequest: fs.ErrInvalid,
		http.StatusForbidden:  fs.ErrPermission,
	}
	if kind := kinds[resp.StatusCode]; kind != nil {
		return fmt.Errorf("power: lab: %s: %s: %w", target, line, kind)
	}
	return fmt.Errorf("power: lab: %s: %s", target, line)
}
