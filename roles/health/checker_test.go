package health

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"muster/roles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is the node of most tests.
var loopback = roles.Node{MAC: roles.MAC{0x52, 0x54, 0, 0xaa, 0, 1}, Address: netip.MustParseAddr("127.0.0.1")}

// patient is a timeout that no test waits for.
const patient = roles.Duration(30 * time.Second)

// check runs one check against n and compares its error with want, a part of it; "" means that it passes.
func check(t *testing.T, h roles.Health, n roles.Node, want string) {
	t.Helper()
	if h.Timeout == 0 {
		h.Timeout = patient
	}
	err := Checker{}.Check(t.Context(), h, n)
	switch {
	case want == "" && err != nil:
		t.Errorf("Check = %v, want it to pass", err)
	case want != "" && err == nil:
		t.Errorf("Check passes, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("Check = %q, want it to say %q", err, want)
	}
}

// closedPort is a port of loopback where nothing listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestInvalid(t *testing.T) {
	for name, c := range map[string]struct {
		h roles.Health
		n roles.Node
	}{
		"no kind":      {roles.Health{}, loopback},
		"two kinds":    {roles.Health{TCP: &roles.TCPCheck{Port: 1}, NTP: &roles.NTPCheck{}}, loopback},
		"no address":   {roles.Health{TCP: &roles.TCPCheck{Port: 1}}, roles.Node{}},
		"no tcp port":  {roles.Health{TCP: &roles.TCPCheck{}}, loopback},
		"large port":   {roles.Health{HTTP: &roles.HTTPCheck{Port: 65536}}, loopback},
		"smtp port":    {roles.Health{SMTP: &roles.SMTPCheck{Port: -1}}, loopback},
		"control path": {roles.Health{HTTP: &roles.HTTPCheck{Path: "/\x7f"}}, loopback},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (Checker{}).Check(t.Context(), c.h, c.n); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("Check = %v, want an error that wraps fs.ErrInvalid", err)
			}
		})
	}
}

// TestCancelled: whoever gives up gets the context's error, not a verdict on the node.
func TestCancelled(t *testing.T) {
	silent := listenUDP(t, func([]byte) []byte { return nil })
	for name, h := range map[string]roles.Health{
		"http": {HTTP: &roles.HTTPCheck{Port: 9}},
		"tcp":  {TCP: &roles.TCPCheck{Port: 9}},
		"dns":  {DNS: &roles.DNSCheck{Port: silent}},
		"smtp": {SMTP: &roles.SMTPCheck{Port: 9}},
		"imap": {IMAP: &roles.IMAPCheck{Port: 9}},
		"ntp":  {NTP: &roles.NTPCheck{Port: silent}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			h.Timeout = patient
			if err := (Checker{}).Check(ctx, h, loopback); !errors.Is(err, context.Canceled) {
				t.Errorf("Check = %v, want context.Canceled", err)
			}
		})
	}
}
