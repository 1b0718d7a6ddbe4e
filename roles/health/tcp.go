package health

import (
	"context"
	"net"
	"net/netip"
	"time"

	"muster/roles"
)

// checkTCP opens a connection and closes it.
func checkTCP(ctx context.Context, c roles.TCPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 0)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.String())
	if err != nil {
		return explain(err, target, timeout)
	}
	return conn.Close()
}
