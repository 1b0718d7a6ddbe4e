package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/httpboot/agent"
	"muster/roles"
)

// ask is what an agent sends to get its spec.
func ask(mac roles.MAC, token string) string {
	return fmt.Sprintf(`{"mac":%q,"token":%q}`, mac, token)
}

var tokenRE = regexp.MustCompile(`muster\.token=(\S+)`)

// ticket fetches a machine's script and gives the boot's token; "" while nothing can be booted.
func (s *site) ticket(mac roles.MAC, a string) string {
	s.t.Helper()
	if m := tokenRE.FindStringSubmatch(s.script(mac, a)); m != nil {
		return m[1]
	}
	return ""
}

// post sends JSON to HTTP boot as an agent does, and gives the status; 0 when there was no answer.
func (s *site) post(path, body string) int {
	resp, err := s.rack.HTTPClient().Post("http://10.77.0.1:8080"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestTokens: an agent without the token of the machine's latest boot is refused at once, and nothing of
// what it says is believed.
func TestTokens(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	s.publish("web")
	s.publish("ntp")
	write(t, filepath.Join(s.dir, "rack.yaml"), rackYAML)
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	mac, other := machineMAC(1), machineMAC(2)
	old := s.ticket(mac, s.boots(mac))
	token := s.ticket(mac, s.boots(mac)) // the machine was switched off and on
	foreign := s.ticket(other, s.boots(other))
	if old == "" || token == "" || foreign == "" || token == old {
		t.Fatalf("tokens %q, %q, %q", old, token, foreign)
	}
	before := s.node(mac)
	for what, wrong := range map[string]string{"old": old, "another's": foreign, "no": "", "invented": strings.Repeat("0", 32), "long": strings.Repeat(token, 100)} {
		head := fmt.Sprintf(`{"mac":%q,"token":%q,`, mac, wrong)
		for path, body := range map[string]string{
			"/v1/agent/hello":  head + `"kernel":"evil","inventory":{"serial":"evil","cpus":99}}`,
			"/v1/agent/spec":   ask(mac, wrong),
			"/v1/agent/events": head + `"events":[{"seq":1,"step":"ready","message":"evil"},{"seq":2,"step":"fail","error":"evil"}]}`,
		} {
			if got := s.post(path, body); got != http.StatusForbidden {
				t.Errorf("%s with %s token: status %d, want 403", path, what, got)
			}
		}
	}
	if got := s.post("/v1/agent/hello", ask(machineMAC(99), token)); got != http.StatusForbidden && got != http.StatusNotFound {
		t.Errorf("hello of a machine never seen: status %d, want 403 or 404", got)
	}
	if diff := cmp.Diff(before, s.node(mac)); diff != "" {
		t.Errorf("something was believed (-before +after):\n%s", diff)
	}
	if nodes := s.muster("node", "list", "-o", "json"); strings.Contains(nodes, machineMAC(99).String()) {
		t.Errorf("a machine was made up:\n%s", nodes)
	}
	hello := fmt.Sprintf(`{"mac":%q,"token":%q,"kernel":"6.1.0-test","inventory":{"serial":"good","cpus":2}}`, mac, token)
	if got := s.post("/v1/agent/hello", hello); got != http.StatusOK {
		t.Errorf("hello with the right token: status %d", got)
	}
	if now := s.node(mac); !strings.Contains(now, `"good"`) {
		t.Errorf("nothing was learnt of the right hello:\n%s", now)
	}
}

// TestWrongTokenDoesNotWait: the long poll of a machine without work checks the token before it waits.
func TestWrongTokenDoesNotWait(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	mac := machineMAC(1)
	s.boots(mac)
	began := time.Now()
	if got := s.post("/v1/agent/spec", ask(mac, "wrong")); got != http.StatusForbidden {
		t.Errorf("status %d, want 403", got)
	}
	if waited := time.Since(began); waited > agent.PollHold/2 {
		t.Errorf("it waited for %v", waited)
	}
}

// node is what the server knows of a node and its boots.
func (s *site) node(mac roles.MAC) string {
	s.t.Helper()
	n, err := s.client.Node(s.t.Context(), mac.String())
	if err != nil {
		s.t.Fatal(err)
	}
	boots, err := s.client.Boots(s.t.Context(), mac.String())
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := json.MarshalIndent([]any{n, boots}, "", " ")
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}
