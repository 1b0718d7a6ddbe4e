package httpboot

import (
	"bytes"
	"crypto/tls"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"muster/httpboot/agent"
	"muster/httpboot/agent/pair"
)

// TestPair: what storage machines say goes over TLS alone, and errors keep their kinds.
func TestPair(t *testing.T) {
	kinds := map[string]error{"exist": fs.ErrExist, "invalid": fs.ErrInvalid, "permission": fs.ErrPermission}
	d := &fixedDirector{pair: func(c agent.PairCall) (any, error) {
		if kind := kinds[c.Op]; kind != nil {
			return nil, &kindError{"because", kind}
		}
		return pair.Vote{Password: c.MAC + " " + c.Key + " " + string(c.Body)}, nil
	}}
	plain, secure := secureServer(t, &Server{Director: d})
	c := anyone(0)
	if status, _ := postTo(t, c, plain+agent.PathPair, `{"op":"vote"}`); status != http.StatusForbidden {
		t.Errorf("over HTTP: status %d", status)
	}
	status, answer := postTo(t, c, secure+agent.PathPair, `{"mac":"m","key":"k","op":"vote","body":{"a":1}}`)
	if status != http.StatusOK || answer != `{"bundle":null,"password":"m k {\"a\":1}"}` {
		t.Errorf("vote: %d %q", status, answer)
	}
	for op, want := range map[string]int{"exist": http.StatusConflict, "invalid": http.StatusBadRequest, "permission": http.StatusForbidden} {
		if status, answer := postTo(t, c, secure+agent.PathPair, `{"op":"`+op+`"}`); status != want || answer != "because\n" {
			t.Errorf("%s: %d %q", op, status, answer)
		}
	}
	if status, _ := postTo(t, c, secure+agent.PathPair, `<xml>`); status != http.StatusBadRequest {
		t.Errorf("garbage: status %d", status)
	}
}

// deadlines notes when a connection would be given up.
type deadlines struct {
	*httptest.ResponseRecorder
	write time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }
func (d *deadlines) SetReadDeadline(time.Time) error     { return nil }

// TestFencingHasItsTime: the connection lives longer than a fencing may take.
func TestFencingHasItsTime(t *testing.T) {
	h, err := (&Server{Director: &fixedDirector{pair: func(agent.PairCall) (any, error) { return nil, nil }}, Images: dirImages("")}).Handler()
	if err != nil {
		t.Fatal(err)
	}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", agent.PathPair, bytes.NewReader([]byte(`{"op":"fence"}`)))
	r.TLS = &tls.ConnectionState{}
	before := time.Now()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.write.Sub(before) < pair.FenceTime+10*time.Second {
		t.Errorf("status %d; the answer may take %s, a fencing %s", w.Code, w.write.Sub(before), pair.FenceTime)
	}
}
