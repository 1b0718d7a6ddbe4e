package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeUnits keep what was done to them.
type fakeUnits struct {
	done []string
	// broken units do not reload; hang makes a restart one that never begins, missing one that fails.
	broken        []string
	hang, missing bool
	// onReload is called for each reload; stop ends the agent.
	onReload, stop func()
	// onRestart is what the restart of a real machine does.
	onRestart func()
}

func (u *fakeUnits) Reload(ctx context.Context, unit string) error {
	u.done = append(u.done, "reload "+unit)
	if u.onReload != nil {
		u.onReload()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if slices.Contains(u.broken, unit) {
		return errors.New("Job failed")
	}
	return nil
}

func (u *fakeUnits) Restart(ctx context.Context) error {
	u.done = append(u.done, "restart")
	switch {
	case u.missing:
		return errors.New("no systemctl")
	case u.hang:
		<-ctx.Done()
		return ctx.Err()
	case u.onRestart != nil:
		u.onRestart()
	}
	return nil
}

func (u *fakeUnits) Reset() error {
	u.done = append(u.done, "reset")
	if u.onRestart != nil {
		u.onRestart()
	}
	return nil
}

// nodeServer answers each word of a node with the next orders; after the last ones it stops the test.
type nodeServer struct {
	t     *testing.T
	stop  func()
	next  []any // NodeOrders, a status, or a time for which it does not answer
	words []Present
	at    []time.Time
}

func (s *nodeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var p Present
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.URL.Path != PathNode || p.MAC != "52:54:00:aa:00:01" || p.Key != "k" {
		s.t.Errorf("%s: %+v %v", r.URL, p, err)
	}
	s.words, s.at = append(s.words, p), append(s.at, time.Now())
	if len(s.next) == 0 {
		s.stop()
		return
	}
	answer := s.next[0]
	s.next = s.next[1:]
	switch v := answer.(type) {
	case NodeOrders:
		json.NewEncoder(w).Encode(v)
	case int:
		http.Error(w, "another boot has begun", v)
	case time.Duration:
		time.Sleep(v)
		w.Write([]byte("{}"))
	}
}

// runNode lets a node follow the answers, and gives its root and screen.
func runNode(t *testing.T, u *fakeUnits, answers ...any) (root string, s *nodeServer, scr *screen) {
	t.Helper()
	root = t.TempDir()
	session := Session{MAC: "52:54:00:aa:00:01", Key: "k", Servers: []string{"https://one:8443", "https://two:8443"}, Pin: "p", Revision: "r1"}
	if err := session.save(root); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"etc/passwd": "knot:x:1:1::/:\n", "etc/same": "same"})
	s, scr = runNodeIn(t, root, u, answers...)
	return root, s, scr
}

// runNodeIn is runNode in a root that has a session. What is below its /volume lies on one.
func runNodeIn(t *testing.T, root string, u *fakeUnits, answers ...any) (s *nodeServer, scr *screen) {
	t.Helper()
	scr = &screen{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s = &nodeServer{t: t, stop: cancel, next: answers}
	if u.onRestart != nil {
		u.onRestart = cancel
	}
	u.stop = cancel
	n := &Node{Root: root, Units: u, Console: NewConsole(scr, false), HTTPS: &http.Client{Transport: servers{"two:8443": s}}}
	n.volume = volumeAt(root, "/volume")
	if err := n.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	return s, scr
}

// A node that is told of new files writes those that changed, reloads each unit once, and says what failed.
func TestNodeSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &fakeUnits{broken: []string{"knot.service"}}
		orders := NodeOrders{Revision: "r2", Files: []File{
			{Path: "/etc/same", Content: []byte("same"), Reload: []string{"same.service"}},
			{Path: "/etc/a", Content: []byte("a"), Reload: []string{"nginx.service", "knot.service"}},
			{Path: "/etc/b/c", Mode: 0o600, Content: []byte("b"), Reload: []string{"nginx.service"}},
		}}
		root, s, scr := runNode(t, u, NodeOrders{}, orders, NodeOrders{Revision: "r2"}, NodeOrders{})
		if want := []string{"reload nginx.service", "reload knot.service"}; !slices.Equal(u.done, want) {
			t.Errorf("done: %q, want %q", u.done, want)
		}
		if b, err := os.ReadFile(root + "/etc/b/c"); string(b) != "b" || err != nil {
			t.Errorf("the file has %q, %v", b, err)
		}
		var words []string
		for _, p := range s.words {
			words = append(words, fmt.Sprint(p.Revision, p.Errors))
		}
		if want := []string{"r1[]", "r1[]", "r2[reload knot.service: Job failed]", "r2[]", "r2[]"}; !slices.Equal(words, want) {
			t.Errorf("the server heard %q, want %q", words, want)
		}
		if d := s.at[1].Sub(s.at[0]); d < pollEvery {
			t.Errorf("asked again after %v", d)
		}
		if session, err := readSession(root); err != nil || session.Revision != "r2" || session.Key != "k" {
			t.Errorf("the session is %+v, %v", session, err)
		}
		st, err := os.Stat(root + SessionFile)
		if err != nil || st.Mode() != 0o600 {
			t.Errorf("the session has mode %v, %v", st.Mode(), err)
		}
		scr.shows(t, "/etc/a has changed", "reload knot.service: Job failed", "revision r2: 2 of 3 files written")
	})
}

// A file that cannot be written is told, the others are written all the same, and it is tried again.
func TestNodeSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &fakeUnits{}
		orders := NodeOrders{Revision: "r2", Files: []File{
			{Path: "/etc/a", Owner: "nobody:knot", Content: []byte("a")}, {Path: "/etc/b", Content: []byte("b"), Reload: []string{"b.service"}},
		}}
		bad := NodeOrders{Revision: "r3", Files: []File{{Path: "../x"}, {Path: "/etc/c"}}}
		root, s, _ := runNode(t, u, orders, orders, bad)
		if b, _ := os.ReadFile(root + "/etc/b"); string(b) != "b" || strings.Join(u.done, " ") != "reload b.service" {
			t.Errorf("b is %q; done: %q", b, u.done)
		}
		if _, err := os.Stat(root + "/etc/c"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of nonsense something was written: %v", err)
		}
		want := []string{"", "owner", "owner", "is not absolute and clean"}
		for i, p := range s.words {
			if p.Revision != "r1" || !strings.Contains(strings.Join(p.Errors, ""), want[i]) || len(p.Errors) > 1 {
				t.Errorf("word %d is %+v, want an error with %q", i, p, want[i])
			}
		}
		if d := s.at[2].Sub(s.at[1]); d < time.Second || d > nodeRetryMax {
			t.Errorf("tried again after %v", d)
		}
	})
}

// A sync keeps secrets from volumes as a boot does, whatever their modes are.
func TestNodeSyncKeepsSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := NodeOrders{Revision: "r2", Files: []File{
			{Path: "/volume/key", Mode: 0o444, Secret: true, Content: []byte("tsig")}, {Path: "/volume/page", Content: []byte("for all")},
		}}
		root, s, _ := runNode(t, &fakeUnits{}, orders)
		if _, err := os.Stat(root + "/volume/key"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("on the volume: %v", err)
		}
		if b, err := os.ReadFile(root + "/volume/page"); string(b) != "for all" {
			t.Errorf("the page has %q, %v", b, err)
		}
		if last := s.words[len(s.words)-1]; last.Revision != "r1" || !strings.Contains(strings.Join(last.Errors, ""), "/volume/key: it has a secret") {
			t.Errorf("the server hears %+v", last)
		}
	})
}

// An agent that ends between a file and its unit's reload makes up for it when it is back.
func TestNodeSyncInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := NodeOrders{Revision: "r2", Files: []File{
			{Path: "/etc/a", Content: []byte("a"), Reload: []string{"nginx.service"}}, {Path: "/etc/same", Content: []byte("same"), Reload: []string{"same.service"}},
		}}
		u := &fakeUnits{}
		u.onReload = func() { u.stop() }
		root, _, _ := runNode(t, u, orders)
		if session, err := readSession(root); err != nil || session.Revision != "r1" {
			t.Errorf("interrupted: the session is %+v, %v", session, err)
		}
		again := &fakeUnits{}
		s, _ := runNodeIn(t, root, again, orders, NodeOrders{})
		if want := []string{"reload nginx.service", "reload same.service"}; !slices.Equal(again.done, want) {
			t.Errorf("done: %q, want %q", again.done, want)
		}
		if got := s.words[1].Revision; got != "r2" {
			t.Errorf("then it has %s", got)
		}
		// What has come to its end is not done again, by an agent that is started anew neither.
		more := &fakeUnits{}
		orders.Revision = "r3"
		if runNodeIn(t, root, more, orders, NodeOrders{}); len(more.done) != 0 {
			t.Errorf("done: %q", more.done)
		}
	})
}

// Servers that are away are asked for ever, one that refuses the session rarely; neither ends the agent.
func TestNodeKeepsAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := slices.Repeat([]any{500, 39 * time.Second}, 20)
		answers = append(answers, 403, 403, NodeOrders{}, NodeOrders{}, 500)
		_, s, scr := runNode(t, &fakeUnits{}, answers...)
		if len(s.words) != 46 {
			t.Errorf("asked %d times", len(s.words))
		}
		for i := 1; i < len(s.at); i++ {
			d := s.at[i].Sub(s.at[i-1])
			if refused := i == 41 || i == 42; (d > 5*time.Minute) != refused || d > 15*time.Minute || d < pollEvery/2 {
				t.Errorf("word %d came after %v", i, d)
			}
		}
		scr.shows(t, "no boot server: https://one:8443: dial one:8443: connection refused", "https://two:8443: status 500",
			"this node's session is refused", "another boot has begun")
		if n := strings.Count(scr.String(), "\n"); n > 200 {
			t.Errorf("%d lines were said:\n%s", n, scr)
		}
	})
}

// barred is a network that a firewall of the node's own keeps it from.
type barred struct {
	servers
	until time.Time
}

func (b barred) RoundTrip(r *http.Request) (*http.Response, error) {
	if time.Now().Before(b.until) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.EPERM)}
	}
	return b.servers.RoundTrip(r)
}

// What the node's own kernel forbids is no server's refusal, and is tried again soon.
func TestNodeBehindFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, scr := t.TempDir(), &screen{}
		session := Session{MAC: "52:54:00:aa:00:01", Key: "k", Servers: []string{"https://one:8443"}, Pin: "p"}
		if err := session.save(root); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := &nodeServer{t: t, stop: cancel}
		start := time.Now()
		n := &Node{Root: root, Units: &fakeUnits{}, Console: NewConsole(scr, false),
			HTTPS: &http.Client{Transport: barred{servers{"one:8443": s}, start.Add(20 * time.Second)}}}
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 20*time.Second+nodeRetryMax {
			t.Errorf("it asked again after %v", took)
		}
		scr.shows(t, "no boot server: ", "operation not permitted")
	})
}

// A restart is one in good order; only where that does not begin, the machine is reset.
func TestNodeRestart(t *testing.T) {
	for name, tc := range map[string]struct {
		u    *fakeUnits
		want string
		took time.Duration
	}{
		"in good order": {&fakeUnits{onRestart: func() {}}, "restart", 0},
		"no systemctl":  {&fakeUnits{missing: true, onRestart: func() {}}, "restart reset", 0},
		"it hangs":      {&fakeUnits{hang: true, onRestart: func() {}}, "restart reset", restartTime},
		"nothing comes": {&fakeUnits{}, "restart reset", restartTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, _, scr := runNode(t, tc.u, NodeOrders{Restart: "web:8 comes"})
				if got := strings.Join(tc.u.done, " "); got != tc.want {
					t.Errorf("done: %s, want %s", got, tc.want)
				}
				if took := time.Since(start); took < tc.took || took > tc.took+time.Minute {
					t.Errorf("it took %v", took)
				}
				scr.shows(t, "the boot server restarts this machine: web:8 comes")
			})
		})
	}
}

func TestNodeWithoutSession(t *testing.T) {
	root := t.TempDir()
	n := &Node{Root: root, Units: &fakeUnits{}, Console: NewConsole(&screen{}, false)}
	if err := n.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, text := range []string{"", "{}", `{"mac":"m","key":"k","pin":"p"}`} {
		write(t, root, map[string]string{SessionFile: text})
		if err := n.Run(t.Context()); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a boot leaves to the running system: the environment always; the agent only with secrets and systemd.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			spec    *Spec
			systemd bool
			stays   bool
		}{
			"all": {secretSpec(), true, true}, "no systemd": {secretSpec(), false, false}, "no secrets": {webSpec(), true, false},
		} {
			root := machineTree(t)
			pinned(t, root)
			write(t, root, map[string]string{"init": "the agent"})
			if tc.systemd {
				write(t, root, map[string]string{"sysroot/usr/lib/systemd/systemd": "", "sysroot/lib": "-> usr/lib"})
			}
			d := &fakeDirector{t: t, replies: []Reply{{Spec: tc.spec}}}
			a, _ := newAgent(root, &fakeKernel{}, servers{"one": d})
			a.HTTPS = &http.Client{Transport: servers{"one:8443": d}}
			if err := a.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			run := root + "/sysroot"
			if b, _ := os.ReadFile(run + EnvFile); string(b) != "MUSTER_SLOT=web-03\nMUSTER_IMAGE=web:7\n" {
				t.Errorf("%s: the environment is %q", name, b)
			}
			session, err := readSession(run)
			if (err == nil) != tc.stays {
				t.Errorf("%s: session %v", name, err)
			}
			for file, mode := range map[string]fs.FileMode{SessionFile: 0o600, AgentFile: 0o700, unitDir + AgentUnit: 0o644} {
				st, err := os.Stat(run + file)
				if (err == nil) != tc.stays || tc.stays && st.Mode() != mode {
					t.Errorf("%s: %s: %v", name, file, err)
				}
			}
			if !tc.stays {
				continue
			}
			want := Session{MAC: "52:54:00:aa:00:01", Key: a.key, Servers: []string{"https://one:8443", "https://two:8443"}, Pin: strings.Repeat("A", 43), Revision: "r1"}
			if fmt.Sprint(session) != fmt.Sprint(want) {
				t.Errorf("the session is %+v, want %+v", session, want)
			}
			if b, _ := os.ReadFile(run + AgentFile); string(b) != "the agent" {
				t.Errorf("the agent is %q", b)
			}
			unit, err := filepath.EvalSymlinks(run + unitDir + "multi-user.target.wants/" + AgentUnit)
			if err != nil || unit != run+unitDir+AgentUnit {
				t.Errorf("the target wants %s, %v", unit, err)
			}
		}
	})
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"web:7": "web:7", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "a\nb": "'a\nb'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
