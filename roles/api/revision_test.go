package api

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"muster/roles"
)

func TestETag(t *testing.T) {
	reg := declared(t)
	s := &Server{Rack: reg}
	w := do(s, "GET", "/v1/pools")
	tag := w.Header().Get("ETag")
	if tag != etag(reg.Revision()) {
		t.Fatalf("ETag %s at revision %d", tag, reg.Revision())
	}
	r := httptest.NewRequest("GET", "/v1/pools", nil)
	r.Header.Set("If-None-Match", tag)
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("unchanged: %d with %d bytes, want an empty 304", w.Code, w.Body.Len())
	}
	see(t, reg, macA)
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("changed: %d, want 200", w.Code)
	}
}

// TestHeldRequest: ?rev= of now waits, and answers 304 after pollWait or 200 at the change.
func TestHeldRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := declared(t)
		s := &Server{Rack: reg}
		began := time.Now()
		if w := do(s, "GET", "/v1/nodes?rev="+digits(reg)); w.Code != 304 || time.Since(began) != pollWait {
			t.Errorf("nothing happened: %d after %v", w.Code, time.Since(began))
		}

		go func() {
			time.Sleep(time.Second)
			see(t, reg, macA)
		}()
		began = time.Now()
		w := do(s, "GET", "/v1/nodes?rev="+digits(reg))
		if w.Code != 200 || time.Since(began) != time.Second || w.Header().Get("ETag") != etag(reg.Revision()) {
			t.Errorf("after a change: %d with %s after %v", w.Code, w.Header().Get("ETag"), time.Since(began))
		}

		// A revision of the past, and one of another store: there is something to tell at once.
		for _, rev := range []string{"0", "999999"} {
			began = time.Now()
			if w := do(s, "GET", "/v1/nodes?rev="+rev); w.Code != 200 || time.Since(began) != 0 {
				t.Errorf("rev=%s: %d after %v", rev, w.Code, time.Since(began))
			}
		}
	})
}

func digits(r *roles.Registry) string {
	tag := etag(r.Revision())
	return tag[1 : len(tag)-1]
}

// TestWaitNode waits for a machine that nobody has seen, and then for its slot.
func TestWaitNode(t *testing.T) {
	reg := declared(t)
	c := client(t, &Server{Rack: reg})
	got := make(chan roles.Node, 1)
	go func() {
		n, err := c.WaitNode(t.Context(), macA.String(), func(n roles.Node) bool { return n.Slot != "" })
		if err != nil {
			t.Error(err)
		}
		got <- n
	}()
	see(t, reg, macB)
	if _, err := reg.Assign(t.Context(), macA.String(), "ntp", ""); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n.Slot != "ntp-01" {
		t.Errorf("got %+v", n)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := client(t, &Server{Rack: declared(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WaitNode(ctx, macA.String(), func(roles.Node) bool { return true }); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// TestFollowBoot sees every event of a boot once, and stops when the boot does.
func TestFollowBoot(t *testing.T) {
	reg := declared(t)
	see(t, reg, macA)
	c := client(t, &Server{Rack: reg})
	var steps []roles.Step
	begun := make(chan struct{})
	done := make(chan roles.Boot, 1)
	go func() {
		b, err := c.FollowBoot(t.Context(), macA.String(), 0, func(_ roles.Boot, fresh []roles.Event) {
			if len(steps) == 0 {
				close(begun)
			}
			for _, e := range fresh {
				steps = append(steps, e.Step)
			}
		})
		if err != nil {
			t.Error(err)
		}
		done <- b
	}()
	<-begun
	err := reg.Observe(t.Context(), []roles.Sighting{{MAC: macA, Time: start.Add(time.Second), Step: roles.StepNBP}})
	if err != nil {
		t.Fatal(err)
	}
	tk, err := reg.Script(t.Context(), macA, roles.Facts{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	err = reg.Report(t.Context(), macA, tk.Boot.Token, []roles.Reported{{Seq: 1, Step: roles.StepFail, Error: "no root"}})
	if err != nil {
		t.Fatal(err)
	}
	b := <-done
	if b.Ended.IsZero() || b.Ready {
		t.Errorf("boot ended as %+v", b)
	}
	if len(steps) != len(b.Events) || steps[0] != roles.StepDiscover || steps[len(steps)-1] != roles.StepFail {
		t.Errorf("steps %v of %d events", steps, len(b.Events))
	}
}
