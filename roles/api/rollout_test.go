package api

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/images"
	"muster/roles"
)

// movingRack has a rollout that goes on whenever it is looked at, and keeps what it was asked to do.
type movingRack struct {
	Rack
	options roles.RolloutOptions
	looks   []roles.Rollout
	rev     uint64
}

func (m *movingRack) Revision() uint64 { return m.rev }

// Watch's channel is closed: there is something new at once.
func (m *movingRack) Watch(uint64) <-chan struct{} {
	m.rev++
	c := make(chan struct{})
	close(c)
	return c
}

func (m *movingRack) StartRollout(_ context.Context, pool string, o roles.RolloutOptions) (roles.Rollout, error) {
	m.options = o
	return roles.Rollout{Pool: pool, From: web7.Ref, Image: o.Image, State: roles.RolloutRunning, Started: start}, nil
}

func (m *movingRack) Rollout(string) (roles.Rollout, error) {
	r := m.looks[0]
	if len(m.looks) > 1 {
		m.looks = m.looks[1:]
	}
	return r, nil
}

func TestStartRollout(t *testing.T) {
	m := &movingRack{Rack: declared(t)}
	c := client(t, &Server{Rack: m, Images: fixedImages{}})
	q := RolloutRequest{Image: "web:8", Canary: 2, Batch: 3, Timeout: roles.Duration(time.Minute)}
	want := roles.RolloutOptions{Image: images.Ref{Name: "web", Version: 8}, Canary: 2, Batch: 3, Timeout: roles.Duration(time.Minute)}
	if r, err := c.StartRollout(t.Context(), "web", q); err != nil || r.Pool != "web" || m.options != want {
		t.Errorf("got %+v, %v, the rack %+v", r, err, m.options)
	}
	// Without an image it is that of the pool's role.
	if _, err := c.StartRollout(t.Context(), "ntp", RolloutRequest{}); err != nil || m.options.Image != (images.Ref{Name: "ntp"}) {
		t.Errorf("no image: %v, the rack %+v", err, m.options)
	}
	_, err := c.StartRollout(t.Context(), "web", RolloutRequest{Image: "Web:x", Canary: -1, Batch: -1})
	if !errors.Is(err, fs.ErrInvalid) || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults: %v", err)
	}
	if _, err := c.StartRollout(t.Context(), "mail", RolloutRequest{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such pool: %v", err)
	}
}

// TestFollowRollout: until it ends, or another one begins.
func TestFollowRollout(t *testing.T) {
	at := func(state roles.RolloutState, begun time.Time) roles.Rollout {
		r := roles.Rollout{Pool: "web", From: web7.Ref, Image: web7.Ref, State: state, Started: begun}
		if state == roles.RolloutDone {
			r.Ended = begun.Add(time.Minute)
		}
		return r
	}
	for name, tt := range map[string]struct {
		looks []roles.Rollout
		seen  int
		last  roles.RolloutState
	}{
		"done":    {[]roles.Rollout{at(roles.RolloutRunning, start), at(roles.RolloutRunning, start), at(roles.RolloutDone, start)}, 3, roles.RolloutDone},
		"another": {[]roles.Rollout{at(roles.RolloutRunning, start), at(roles.RolloutRunning, start.Add(time.Hour))}, 1, roles.RolloutRunning},
	} {
		m := &movingRack{Rack: declared(t), looks: tt.looks}
		c := client(t, &Server{Rack: m})
		seen := 0
		r, err := c.FollowRollout(t.Context(), "web", func(roles.Rollout) { seen++ })
		if err != nil || seen != tt.seen || r.State != tt.last || !r.Started.Equal(start) {
			t.Errorf("%s: %d looks, %+v, %v", name, seen, r, err)
		}
	}
}

// TestRolloutsOfARegistry: what the real one refuses, the client gets.
func TestRolloutsOfARegistry(t *testing.T) {
	c := client(t, &Server{Rack: declared(t), Images: fixedImages{}})
	for name, do := range map[string]func(context.Context, string) (roles.Rollout, error){
		"show": c.Rollout, "stop": c.StopRollout, "rollback": c.RollbackPool,
	} {
		for _, pool := range []string{"web", "mail"} {
			if _, err := do(t.Context(), pool); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %s: %v", name, pool, err)
			}
		}
	}
}

const filesYAML = `roles:
- name: web
  secrets: [{name: admin, scope: pool}, {name: host, kind: ssh}]
  files: [{path: /etc/motd, content: "{{.Name}} {{secret \"admin\"}} {{public \"host\"}}"}]
pools:
- {name: web, role: web, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}}
`

// serving is a registry with a node that serves as web-01, and whose agent has spoken.
func serving(t *testing.T) *roles.Registry {
	t.Helper()
	reg := newRegistry(t)
	now := start
	reg.Now = func() time.Time { now = now.Add(time.Second); return now }
	apply(t, reg, filesYAML)
	ctx := t.Context()
	facts := roles.Facts{Arch: "x86_64", Firmware: "bios"}
	tk, err := reg.Script(ctx, macA, facts)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("5a", 32)
	facts.Inventory = &roles.Inventory{Memory: 512, CPUs: 1}
	_, err = reg.Hello(ctx, macA, tk.Boot.Token, web7.Kernel, time.Second, facts)
	if err == nil {
		_, err = reg.Claim(ctx, macA, tk.Boot.Token, key)
	}
	if err == nil {
		err = reg.Report(ctx, macA, tk.Boot.Token, []roles.Reported{{Seq: 1, Step: roles.StepSwitchRoot}})
	}
	if err == nil {
		_, err = reg.Present(ctx, macA, key, "old")
	}
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestSyncAndRestart(t *testing.T) {
	reg := serving(t)
	c := client(t, &Server{Rack: reg})
	s, err := c.SyncNode(t.Context(), "web-01")
	if err != nil || !s.Node.Sync || s.Node.Files != "old" || s.Wanted == "" || s.Wanted == "old" {
		t.Errorf("SyncNode: %+v, %v", s, err)
	}
	f, err := reg.Files(t.Context(), "web-01", "web:7")
	if err != nil || f.Revision != s.Wanted {
		t.Errorf("wanted %q, the files are %q (%v)", s.Wanted, f.Revision, err)
	}
	n, err := c.RestartNode(t.Context(), "web-01", "new kernel")
	if err != nil || n.Restart != "new kernel" {
		t.Errorf("RestartNode: %+v, %v", n, err)
	}
	if _, err := c.SyncNode(t.Context(), macB.String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncNode of nobody: %v", err)
	}
	if _, err := reg.Release(t.Context(), "web-01"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SyncNode(t.Context(), macA.String()); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "has no slot") {
		t.Errorf("SyncNode of one without a slot: %v", err)
	}
}

// brokenFiles cannot render the files of a node.
type brokenFiles struct{ Rack }

func (brokenFiles) Files(context.Context, string, string) (roles.NodeFiles, error) {
	return roles.NodeFiles{}, errors.New("roles: role web: /etc/motd:1: no such field")
}

// TestSyncOfBrokenFiles: the operator hears it, and the node is not asked.
func TestSyncOfBrokenFiles(t *testing.T) {
	reg := serving(t)
	c := client(t, &Server{Rack: brokenFiles{reg}})
	if _, err := c.SyncNode(t.Context(), "web-01"); err == nil || !strings.Contains(err.Error(), "no such field") {
		t.Errorf("SyncNode: %v", err)
	}
	if n, err := reg.Node("web-01"); err != nil || n.Sync {
		t.Errorf("the node was asked: %+v, %v", n, err)
	}
}

// TestSecrets: nothing that a client gets has a value in it.
func TestSecrets(t *testing.T) {
	reg := serving(t)
	s := &Server{Rack: reg}
	c := client(t, s)
	const value = "hunter2 hunter2"
	set, err := c.SetSecret(t.Context(), "pool/web/admin", []byte(value))
	if err != nil || set.Key != "pool/web/admin" || !set.Given || set.Value != nil {
		t.Errorf("SetSecret: %+v, %v", set, err)
	}
	f, err := reg.Files(t.Context(), "web-01", "web:7")
	if err != nil || !strings.Contains(string(f.Files[0].Content), value) {
		t.Errorf("the node's files: %q, %v", f.Files, err)
	}
	all, err := c.Secrets(t.Context())
	var keys []string
	for _, s := range all {
		keys = append(keys, s.Key)
	}
	if d := cmp.Diff([]string{"pool/web/admin", "slot/web-01/host"}, keys); d != "" || err != nil {
		t.Errorf("Secrets: %v, -want +got:\n%s", err, d)
	}
	before := all[1].Public
	if r, err := c.RotateSecret(t.Context(), "slot/web-01/host"); err != nil || r.Public == before || r.Public == "" {
		t.Errorf("RotateSecret: %+v, %v", r, err)
	}
	for _, path := range []string{"secrets", "nodes", "nodes/web-01", "pools", "roles", "events", "export", "nodes/web-01/boots"} {
		if w := do(s, "GET", "/v1/"+path); w.Code != 200 || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %d, with the value: %s", path, w.Code, w.Body)
		}
	}
	for key, want := range map[string]error{"pool/web/nothing": fs.ErrNotExist, "pool/mail/admin": fs.ErrNotExist} {
		if _, err := c.SetSecret(t.Context(), key, []byte(value)); !errors.Is(err, want) {
			t.Errorf("SetSecret %s: %v, want %v", key, err, want)
		}
		if _, err := c.RotateSecret(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("RotateSecret %s: %v, want %v", key, err, want)
		}
	}
}

// TestSecretIsNotInItsRefusal: a value that is not of its kind does not come back.
func TestSecretIsNotInItsRefusal(t *testing.T) {
	s := &Server{Rack: serving(t)}
	b, err := json.Marshal(SecretRequest{[]byte("hunter2 hunter2")})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(b), `{"value": "hunter2 hunter2"}`, `{"value": ""}`, `{"hunter2": 1}`[:11]} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/v1/secrets/slot/web-01/host", strings.NewReader(body)))
		if w.Code != 400 || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// TestRollouts: one request has the latest rollout of every pool that had one.
func TestRollouts(t *testing.T) {
	m := &rolledRack{Rack: declared(t)}
	c := client(t, &Server{Rack: m})
	if got, err := c.Rollouts(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	m.of = map[string]roles.Rollout{"web": {Pool: "web", From: web7.Ref, Image: web7.Ref, State: roles.RolloutDone}}
	if got, err := c.Rollouts(t.Context()); err != nil || len(got) != 1 || got[0].Image != web7.Ref {
		t.Errorf("one: %v, %v", got, err)
	}
	m.broken = fs.ErrPermission
	if _, err := c.Rollouts(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a fault: %v", err)
	}
}

// rolledRack has the rollouts of some pools; broken is every error, if it is set.
type rolledRack struct {
	Rack
	of     map[string]roles.Rollout
	broken error
}

func (r *rolledRack) Rollout(pool string) (roles.Rollout, error) {
	ro, ok := r.of[pool]
	switch {
	case r.broken != nil:
		return ro, r.broken
	case !ok:
		return ro, fs.ErrNotExist
	}
	return ro, nil
}
