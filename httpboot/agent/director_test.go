package agent

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDirector is a boot server whose answers come in turn; the last one stays.
type fakeDirector struct {
	t       *testing.T
	replies []Reply
	// refuse gives the status of the next requests to a path, each used once.
	refuse map[string][]int
	// secrets answer each claim.
	secrets []File

	mu     sync.Mutex
	asked  []string // hello, spec
	hellos []Hello
	events []Event
	claims []Claim
	// batches counts reports.
	batches int
}

func (d *fakeDirector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		d.t.Errorf("%s %s with %q", r.Method, r.URL, r.Header)
	}
	if codes := d.refuse[r.URL.Path]; len(codes) > 0 {
		d.refuse[r.URL.Path] = codes[1:]
		http.Error(w, "refused", codes[0])
		return
	}
	switch r.URL.Path {
	case PathEvents:
		d.batches++
		var rep Report
		d.decode(r, &rep)
		if rep.MAC != "52:54:00:aa:00:01" || rep.Token != "secret" {
			d.t.Errorf("report of %q %q", rep.MAC, rep.Token)
		}
		for _, ev := range rep.Events {
			if n := len(d.events); n == 0 || d.events[n-1].Seq < ev.Seq {
				d.events = append(d.events, ev)
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return
	case PathClaim:
		var c Claim
		d.decode(r, &c)
		d.claims = append(d.claims, c)
		json.NewEncoder(w).Encode(Claimed{Files: d.secrets})
		return
	case PathHello:
		var h Hello
		d.decode(r, &h)
		d.hellos = append(d.hellos, h)
	case PathSpec:
		var p Poll
		d.decode(r, &p)
	default:
		d.t.Errorf("asked for %s", r.URL)
	}
	d.asked = append(d.asked, strings.TrimPrefix(r.URL.Path, "/v1/agent/"))
	reply := d.replies[0]
	if len(d.replies) > 1 {
		d.replies = d.replies[1:]
	}
	if reply.Spec != nil && reply.Spec.Now.IsZero() {
		s := *reply.Spec
		s.Now = time.Now()
		reply.Spec = &s
	}
	json.NewEncoder(w).Encode(reply)
}

func (d *fakeDirector) decode(r *http.Request, into any) {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		d.t.Error(err)
	}
}

// steps gives the events' steps; one with an error has a "!".
func (d *fakeDirector) steps() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for i, ev := range d.events {
		if ev.Seq != i+1 {
			d.t.Errorf("event %d has number %d", i+1, ev.Seq)
		}
		step := ev.Step
		if ev.Error != "" {
			step += "!"
		}
		out = append(out, step)
	}
	return out
}

func (d *fakeDirector) wantSteps(want ...string) {
	d.t.Helper()
	if got := d.steps(); !slices.Equal(got, want) {
		d.t.Errorf("events are %q, want %q", got, want)
	}
}
