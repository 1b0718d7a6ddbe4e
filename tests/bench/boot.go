package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"muster/tests/rack"
)

// boot is what one boot cost.
type boot struct {
	// firmware is power-on → the kernel's first line; initrd is from there until the initrd gives the machine to the
	// root, systemd until the root's init says its first; total is power-on → the service answers.
	firmware, initrd, systemd, total time.Duration
	// wire is bytes over the machine's network card until then, both ways.
	wire int64
}

// service is kernel start → the service answers.
func (b boot) service() time.Duration { return b.total - b.firmware }

var (
	kernelStarts = regexp.MustCompile(`Linux version `)
	initrdEnds   = regexp.MustCompile(`muster: switch-root|Begin: Running /scripts/init-bottom`) // ours, initramfs-tools'
	rootStarts   = regexp.MustCompile(`systemd\[1\]: systemd |Welcome to .*Debian`)
	idleMemory   = regexp.MustCompile(`bench: MemTotal: (\d+) kB MemAvailable: (\d+) kB`)
)

// run switches a machine on and measures until its web server answers. The machine stays on.
func run(ctx context.Context, r *rack.Rack, m *rack.Machine, url string) (b boot, err error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	began := time.Now()
	if err := m.On(); err != nil {
		return b, err
	}
	failed := make(chan error, 1)
	go func() { // ends with ctx at the latest
		var err error
		at := func(line *regexp.Regexp) time.Duration {
			if err == nil {
				_, err = m.WaitConsole(ctx, line)
			}
			return time.Since(began)
		}
		b.firmware = at(kernelStarts)
		b.initrd, b.systemd = at(initrdEnds)-b.firmware, at(rootStarts)-b.firmware
		failed <- err
	}()
	if err := answers(ctx, r, url); err != nil {
		return b, err
	}
	b.total = time.Since(began)
	if b.wire, err = wire(ctx, r); err != nil {
		return b, err
	}
	err = <-failed // and with it b is whole
	return b, err
}

// answers waits until url is served.
func answers(ctx context.Context, r *rack.Rack, url string) error {
	client := r.HTTPClient()
	client.Timeout = time.Second
	for {
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wire reads the counters of the machine's tap, which is new at every power-on.
func wire(ctx context.Context, r *rack.Rack) (int64, error) {
	out, err := r.Command(ctx, "ip", "-s", "-j", "link", "show", "dev", "tap1").Output()
	if err != nil {
		return 0, err
	}
	var links []struct {
		Stats struct {
			RX, TX struct{ Bytes int64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return 0, fmt.Errorf("ip -s link: %w: %s", err, out)
	}
	return links[0].Stats.RX.Bytes + links[0].Stats.TX.Bytes, nil
}
