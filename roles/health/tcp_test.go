package health

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"muster/roles"
)

func TestTCP(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		n := roles.Node{Address: netip.MustParseAddr(address)}
		check(t, roles.Health{TCP: &roles.TCPCheck{Port: port}}, n, "") // the kernel accepts
		l.Close()
		check(t, roles.Health{TCP: &roles.TCPCheck{Port: port}}, n,
			fmt.Sprintf("connection refused: nothing listens on port %d of %s", port, address))
	}
}
