package tftpd

import (
	"strings"
	"testing"
	"time"
)

func TestNegotiate(t *testing.T) {
	const mtu = 1468
	for _, c := range []struct {
		ask  string // name=value pairs
		oack string
		want terms
	}{
		{"", "", terms{blksize: 512, window: 1}},
		{"blksize=1428", "blksize=1428", terms{blksize: 1428, window: 1}},
		{"blksize=8", "blksize=8", terms{blksize: 8, window: 1}},
		{"blksize=7", "", terms{blksize: 512, window: 1}},
		{"blksize=65464", "blksize=1468", terms{blksize: mtu, window: 1}},
		{"blksize=99999999999", "blksize=1468", terms{blksize: mtu, window: 1}},
		{"blksize=-1", "", terms{blksize: 512, window: 1}},
		{"blksize=", "", terms{blksize: 512, window: 1}},
		{"blksize=1e3", "", terms{blksize: 512, window: 1}},
		{"tsize=0", "tsize=1000", terms{blksize: 512, window: 1}},
		{"tsize=77", "tsize=1000", terms{blksize: 512, window: 1}},
		{"tsize=x", "", terms{blksize: 512, window: 1}},
		{"timeout=1", "timeout=1", terms{blksize: 512, window: 1, timeout: time.Second}},
		{"timeout=255", "timeout=255", terms{blksize: 512, window: 1, timeout: 255 * time.Second}},
		{"timeout=0", "", terms{blksize: 512, window: 1}},
		{"timeout=256", "", terms{blksize: 512, window: 1}},
		{"windowsize=1", "windowsize=1", terms{blksize: 512, window: 1}},
		{"windowsize=16", "windowsize=16", terms{blksize: 512, window: 16}},
		{"windowsize=64", "windowsize=64", terms{blksize: 512, window: 64}},
		{"windowsize=65535", "windowsize=64", terms{blksize: 512, window: 64}},
		{"windowsize=65536", "", terms{blksize: 512, window: 1}},
		{"windowsize=0", "", terms{blksize: 512, window: 1}},
		{"multicast= utimeout=1000 rollover=0", "", terms{blksize: 512, window: 1}},
		{"tsize=0 x=y blksize=1024 windowsize=4", "tsize=1000 blksize=1024 windowsize=4", terms{blksize: 1024, window: 4}},
	} {
		var ask []option
		for _, f := range strings.Fields(c.ask) {
			name, value, _ := strings.Cut(f, "=")
			ask = append(ask, option{name, value})
		}
		got := negotiate(ask, offer{blksize: mtu, window: maxWindow, size: 1000})
		if got.blksize != c.want.blksize || got.window != c.want.window || got.timeout != c.want.timeout {
			t.Errorf("%q: %+v, want %+v", c.ask, got, c.want)
		}
		if d, want := describe(oackPacket(got.oack)), strings.TrimSpace("OACK "+c.oack); d != want {
			t.Errorf("%q: %q, want %q", c.ask, d, want)
		}
	}
}

// TestWindowBytes: a window of large blocks has fewer of them, wherever blksize stands in the request.
func TestWindowBytes(t *testing.T) {
	for _, opts := range [][]option{
		{{"windowsize", "64"}, {"blksize", "65464"}},
		{{"blksize", "65464"}, {"windowsize", "64"}},
	} {
		if got := negotiate(opts, offer{blksize: maxBlksize, window: maxWindow}); got.window != 2 {
			t.Errorf("%v: window of %d, want 2", opts, got.window)
		}
	}
	if got := negotiate([]option{{"tsize", "0"}}, offer{blksize: 512, window: 1, size: -1}); len(got.oack) != 0 {
		t.Errorf("a size that is not known is told: %v", got.oack)
	}
}

// TestBlksizeFor: as large as one packet of the path, unless told otherwise.
func TestBlksizeFor(t *testing.T) {
	for _, c := range []struct{ max, payload, want int }{
		{0, 1472, 1468},
		{0, 65507, 65464},
		{0, 0, 1448},
		{0, 5, 8},
		{1024, 1472, 1024},
		{9000, 1472, 9000},
		{99999, 1472, 65464},
		{1, 1472, 8},
	} {
		s := &Server{MaxBlksize: c.max}
		if got := s.blksizeFor(&memFlow{net: &memNet{payload: c.payload}}); got != c.want {
			t.Errorf("MaxBlksize %d on a path of %d: %d, want %d", c.max, c.payload, got, c.want)
		}
	}
}
