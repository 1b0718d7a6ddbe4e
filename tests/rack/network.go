package rack

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Inside calls f on a thread that is in the rack's network, and returns its error. A socket that f opens
// stays in the rack's network for good; goroutines that f starts are outside.
func (r *Rack) Inside(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("rack: network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(r.holder.net.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("rack: enter the network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked to this goroutine, so that no other one finds itself in the rack.
		return fmt.Errorf("rack: leave the network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects over the rack's network, as net.Dialer does. The host must be an address: names would be
// looked up outside. It fits http.Transport.DialContext.
func (r *Rack) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, fmt.Errorf("rack: dial %q: want ADDRESS:PORT, names are not looked up: %w", addr, fs.ErrInvalid)
	}
	// Without a fallback delay the dialer makes its socket on the calling thread.
	d := net.Dialer{FallbackDelay: -1}
	err = r.Inside(func() error {
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens for streams in the rack's network: a server of the test's own that machines can reach.
func (r *Rack) Listen(ctx context.Context, network, addr string) (ln net.Listener, err error) {
	err = r.Inside(func() error {
		ln, err = (&net.ListenConfig{}).Listen(ctx, network, addr)
		return err
	})
	return ln, err
}

// ListenPacket listens for packets in the rack's network.
func (r *Rack) ListenPacket(ctx context.Context, network, addr string) (pc net.PacketConn, err error) {
	err = r.Inside(func() error {
		pc, err = (&net.ListenConfig{}).ListenPacket(ctx, network, addr)
		return err
	})
	return pc, err
}

// HTTPClient fetches over the rack's network; hosts must be addresses. It keeps no connection open and has no
// timeout: bound requests by their context.
func (r *Rack) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: r.Dial, DisableKeepAlives: true}}
}
