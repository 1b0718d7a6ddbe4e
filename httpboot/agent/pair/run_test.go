package pair

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A step that takes long does not silence the half, and a takeover is told at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHalf(t)
		h.known()
		h.drbd.set(blankNew)
		h.server.orders.Format = true
		if err := h.machine.link(t.Context(), disk{device: "/dev/vdb"}); err != nil {
			t.Fatal(err)
		}
		const mkfs = 5 * time.Minute
		begun := make(chan struct{}, 10)
		h.f.program("mkfs.ext4", func([]string) (string, error) {
			begun <- struct{}{}
			time.Sleep(mkfs)
			return "", nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }() // ends with ctx
		<-begun
		n := h.server.count()
		time.Sleep(mkfs - time.Second)
		if more := h.server.count() - n; more < 140 || more > 160 {
			t.Errorf("%d reports while mkfs ran", more)
		}
		if len(begun) > 0 {
			t.Error("it was begun twice")
		}
		time.Sleep(5 * time.Second)
		h.server.mu.Lock()
		h.server.orders.Format = false
		made := slices.Contains(h.server.ops, OpMade)
		h.server.mu.Unlock()
		if !made {
			t.Error("the server does not know that it was made")
		}
		time.Sleep(mkfs)
		synctest.Wait()

		n = h.server.count()
		time.Sleep(every / 10)
		h.f.file(ServingFile, "")
		h.f.addMount(Device + " " + h.f.root + Volume + " ext4 rw")
		h.f.AddAddress("eth0", testConfig.Floating)
		time.Sleep(glanceEvery)
		synctest.Wait()
		if r := h.server.last(); h.server.count() != n+1 || !r.Active {
			t.Errorf("after a takeover: %d reports, %+v", h.server.count()-n, r)
		}
		told := h.f.announced()
		time.Sleep(2 * announceFor)
		if more := h.f.announced() - told; more < 10 || more > 20 {
			t.Errorf("the address was announced %d times", more)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (f *fakeMachine) announced() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.told)
}

func (s *fakeServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reports)
}

func TestHealth(t *testing.T) {
	h := newHalf(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.ServeHealth(ctx, l) }() // ends with ctx
	get := func() (int, string) {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, text := get(); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	h.settle() // there is no disk
	h.step()
	if code, text := get(); code != http.StatusServiceUnavailable || !strings.Contains(text, "no disk at all") {
		t.Errorf("%d %s", code, text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
