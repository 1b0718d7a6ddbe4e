package httpboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"muster/httpboot/agent"
)

// bodySize bounds what an agent may send: an inventory of a machine with hundreds of disks is 100 KB.
const bodySize = 1 << 20

// hello takes an agent's first word.
func (s *Server) hello(w http.ResponseWriter, r *http.Request) error {
	var h agent.Hello
	if err := s.read(w, r, "hello", &h); err != nil {
		return err
	}
	reply, err := s.Director.Hello(r.Context(), remote(r), h)
	if err != nil {
		return err
	}
	return writeJSON(w, reply)
}

// poll is a long poll.
func (s *Server) poll(w http.ResponseWriter, r *http.Request) error {
	var p agent.Poll
	if err := s.read(w, r, "spec", &p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), agent.PollHold)
	defer cancel()
	s.metrics.waiting(1)
	defer s.metrics.waiting(-1)
	reply, err := s.Director.Poll(ctx, p)
	if err != nil && timeUp(ctx, r, err) {
		reply, err = agent.Reply{Wait: "the boot server has no work for this machine yet"}, nil
	}
	if err != nil {
		return err
	}
	return writeJSON(w, reply)
}

// claim redeems a boot's token.
func (s *Server) claim(w http.ResponseWriter, r *http.Request) error {
	var c agent.Claim
	if err := s.read(w, r, "claim", &c); err != nil {
		return err
	}
	claimed, err := s.Director.Claim(r.Context(), c)
	if err != nil {
		return err
	}
	return writeJSON(w, claimed)
}

// present is a long poll of a running node.
func (s *Server) present(w http.ResponseWriter, r *http.Request) error {
	var p agent.Present
	if err := s.read(w, r, "node", &p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), agent.PollHold)
	defer cancel()
	s.metrics.nodes.Inc()
	defer s.metrics.nodes.Dec()
	orders, err := s.Director.Present(ctx, p)
	if err != nil && timeUp(ctx, r, err) {
		orders, err = agent.NodeOrders{}, nil
	}
	if err != nil {
		return err
	}
	return writeJSON(w, orders)
}

// pair is a word of a storage machine. Switching another machine's power off takes its time.
func (s *Server) pair(w http.ResponseWriter, r *http.Request) error {
	var c agent.PairCall
	if err := s.read(w, r, "pair", &c); err != nil {
		return err
	}
	answer, err := s.Director.Pair(r.Context(), c)
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

// timeUp says that err is only the end of a long poll's time, and that the client still waits.
func timeUp(ctx context.Context, r *http.Request, err error) bool {
	return ctx.Err() != nil && r.Context().Err() == nil && errors.Is(err, ctx.Err())
}

// report takes an agent's events.
func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	var rep agent.Report
	if err := s.read(w, r, "events", &rep); err != nil {
		return err
	}
	if err := s.Director.Report(r.Context(), rep); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// read decodes a bounded body. Fields that this server does not know are passed over: an agent may be of a
// newer version. What cannot be read is counted as garbage.
func (s *Server) read(w http.ResponseWriter, r *http.Request, endpoint string, into any) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodySize))
	if err == nil {
		// A long poll reads nothing more: the deadline would end it.
		http.NewResponseController(w).SetReadDeadline(time.Time{})
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		s.metrics.reject(endpoint, "garbage")
		return fmt.Errorf("httpboot: %s: not a request of an agent: %w: %w", endpoint, fs.ErrInvalid, err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b) // an error here is the client's end; the agent asks again
	return nil
}
