package api

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"muster/roles"
)

// eventsPage is how many events a follower reads at once, and how many a listing gives by default.
const eventsPage = 500

// eventQuery is what ?after=, ?limit=, ?last= and ?follow= ask for.
type eventQuery struct {
	after       uint64
	limit, last int
	follow      bool
}

func parseEventQuery(v url.Values) (q eventQuery, err error) {
	if t := v.Get("after"); t != "" {
		if q.after, err = strconv.ParseUint(t, 10, 64); err != nil {
			return q, fmt.Errorf("after=%q is not an event's seq: %w", t, fs.ErrInvalid)
		}
	}
	if q.limit, err = count(v, "limit", eventsPage); err != nil {
		return q, err
	}
	if q.last, err = count(v, "last", 0); err != nil {
		return q, err
	}
	q.follow, err = flag(v, "follow")
	return q, err
}

// count reads a query parameter that is a number of events; absent is def.
func count(v url.Values, name string, def int) (int, error) {
	t := v.Get(name)
	if t == "" {
		return def, nil
	}
	n, err := strconv.Atoi(t)
	if err != nil || n < 1 || n > roles.EventsKept {
		return 0, fmt.Errorf("%s=%q is not a number from 1 to %d: %w", name, t, roles.EventsKept, fs.ErrInvalid)
	}
	return n, nil
}

// flag reads a query parameter that is 1 or 0, true or false; absent is false.
func flag(v url.Values, name string) (bool, error) {
	t := v.Get(name)
	if t == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(t)
	if err != nil {
		return false, fmt.Errorf("%s=%q is neither 1 nor 0: %w", name, t, fs.ErrInvalid)
	}
	return b, nil
}

func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseEventQuery(r.URL.Query())
	if err != nil {
		return err
	}
	if q.last > 0 {
		if q.after, err = s.beforeLast(q); err != nil {
			return err
		}
		q.limit = q.last
	}
	if q.follow {
		return s.followEvents(w, r, q.after)
	}
	v, err := list(s.Rack.Events(q.after, q.limit))
	if err != nil {
		return err
	}
	return writeJSON(w, v)
}

// beforeLast is the Seq after which the last events begin.
func (s *Server) beforeLast(q eventQuery) (uint64, error) {
	all, err := s.Rack.Events(q.after, 0)
	if n := len(all) - q.last; n > 0 {
		return all[n-1].Seq, err
	}
	return q.after, err
}

// followEvents streams events until the client goes away or the server stops.
func (s *Server) followEvents(w http.ResponseWriter, r *http.Request, after uint64) error {
	out := newStream(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	// The first empty line sends the header: the client knows that it is listening.
	if out.line(nil) != nil {
		return nil
	}
	for {
		rev := s.Rack.Revision()
		page, err := s.Rack.Events(after, eventsPage)
		if err != nil {
			s.log().Error("events stream ended", "err", err)
			return nil
		}
		for _, e := range page {
			if out.line(e) != nil {
				return nil
			}
			after = e.Seq
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-s.Rack.Watch(rev):
		case <-beat.C:
			if out.line(nil) != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}
