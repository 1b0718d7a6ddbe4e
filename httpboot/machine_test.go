package httpboot

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The URL under which a machine finds this server again.
func TestBase(t *testing.T) {
	for host, want := range map[string]string{
		"10.77.0.1:8080": "http://10.77.0.1:8080", "boot.rack.example": "http://boot.rack.example", "[fd00::1]:80": "http://[fd00::1]:80",
		"": "http://192.0.2.1:1234", "a b": "http://192.0.2.1:1234", "x\nshell": "http://192.0.2.1:1234", "${ip}": "http://192.0.2.1:1234",
		"h:port": "http://192.0.2.1:1234", strings.Repeat("a", 256): "http://192.0.2.1:1234",
	} {
		r := httptest.NewRequest(http.MethodGet, "/ipxe", nil)
		r.Host = host
		at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at))
		if got := base(r); got != want {
			t.Errorf("Host %q: %q, want %q", host, got, want)
		}
	}
}

// Old firmware speaks HTTP/1.0 and sends no Host: its script leads to the address it came in on.
func TestNoHost(t *testing.T) {
	url := serve(t, &Server{Director: &fixedDirector{}, Images: dirImages("")})
	addr := strings.Replace(strings.TrimPrefix(url, "http://"), "10.0.2.2", "127.0.0.1", 1)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /ipxe?mac=52-54-00-aa-00-01 HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(b), "set muster-again http://"+addr+"/ipxe?mac=52-54-00-aa-00-01\n") {
		t.Errorf("%v: %s", err, b)
	}
}
