package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"muster/tests/rack"
)

// pageLoop fetches a page again and again, as visitors do.
type pageLoop struct {
	mu sync.Mutex
	// times are when a page came; errs are what came instead.
	times []time.Time
	errs  []string
}

// newPageLoop begins to fetch; it ends with the test.
func newPageLoop(t *testing.T, r *rack.Rack, url string) *pageLoop {
	l := &pageLoop{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() { // ends with the test
		defer close(done)
		for ctx.Err() == nil {
			l.fetch(ctx, r, url)
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
		}
	}()
	return l
}

func (l *pageLoop) fetch(ctx context.Context, r *rack.Rack, url string) {
	one, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := fetch(one, r, url)
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.errs = append(l.errs, err.Error())
		return
	}
	l.times = append(l.times, time.Now())
}

// stall is the longest time without a page that ended after from, in seconds.
func (l *pageLoop) stall(from time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for i := 1; i < len(l.times); i++ {
		if gap := l.times[i].Sub(l.times[i-1]); l.times[i].After(from) && gap > longest {
			longest = gap
		}
	}
	return longest.Seconds()
}

// failures are what came in the place of a page.
func (l *pageLoop) failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.errs...)
}

// fetch gets a page over the rack's network, whole and with status 200.
func fetch(ctx context.Context, r *rack.Rack, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.HTTPClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return b, err
}
