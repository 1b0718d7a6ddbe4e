package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/roles/api"
)

// TestGarbage sends what no client would to every port: it is counted and refused, nothing outside of what
// is served gets out, and a machine is served as if nothing had been.
func TestGarbage(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	s.publish("web")
	write(t, filepath.Join(s.dir, "rack.yaml"), rackYAML)
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	write(t, filepath.Join(s.dir, "data/files/hello.txt"), "hello\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(s.dir, "data/files/leak")); err != nil {
		t.Fatal(err)
	}
	nodes := s.muster("node", "list", "-o", "json")
	for _, tt := range []struct {
		name   string
		run    func(*testing.T, *site, *rand.Rand)
		metric string
	}{
		{"DHCP", garbageDHCP, "muster_dhcpd_drops_total"},
		{"TFTP", garbageTFTP, "muster_tftpd_dropped_total"},
		{"HTTP", garbageHTTP, "muster_httpboot_rejected_total"},
		{"paths", escapes, "muster_httpboot_requests_total"},
		{"agent", garbageAgent, "muster_httpboot_rejected_total"},
		{"API", garbageAPI, "muster_api_requests_total"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub := s.in(t)
			before := sub.metric(tt.metric)
			tt.run(t, sub, rand.New(rand.NewPCG(1, 2)))
			sub.eventually("it is counted in "+tt.metric, func() bool { return sub.metric(tt.metric) > before })
			select {
			case <-s.exited:
				t.Fatalf("muster serve ended: %v", s.serve.ProcessState)
			default:
			}
		})
	}
	if after := s.muster("node", "list", "-o", "json"); after != nodes {
		t.Errorf("garbage made nodes:\n%s", after)
	}
	for _, word := range []string{"panic", "goroutine "} {
		if strings.Contains(s.log.String(), word) {
			t.Errorf("the log has %q", word)
		}
	}
	s.serves(machineMAC(1))
	if got := s.get("http://10.77.0.1:8080/files/hello.txt"); got != "hello\n" {
		t.Errorf("the operator's file is %q", got)
	}
}

// mangled gives variations of a good message: random bytes, cut off, with bytes changed, too long.
func mangled(r *rand.Rand, good []byte) (out [][]byte) {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for range 40 {
		out = append(out, noise(r.IntN(1400)), good[:r.IntN(len(good))], append(bytes.Clone(good), noise(r.IntN(900))...))
		changed := bytes.Clone(good)
		for range 1 + r.IntN(8) {
			changed[r.IntN(len(changed))] = byte(r.Uint32())
		}
		out = append(out, changed)
	}
	return append(out, nil, make([]byte, 1400), bytes.Repeat([]byte{0xff}, 1400))
}

func (s *site) throw(network, addr string, packets [][]byte) {
	s.t.Helper()
	c, err := s.rack.Dial(s.t.Context(), network, addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for _, p := range packets {
		_, _ = c.Write(p) // a reset is an answer
	}
}

// garbageDHCP mangles the requests of an operating system, which makes no node.
func garbageDHCP(t *testing.T, s *site, r *rand.Rand) {
	good, err := dhcpv4.NewDiscovery(net.HardwareAddr{0x52, 0x54, 0, 0xbd, 1, 1}, longName)
	if err != nil {
		t.Fatal(err)
	}
	s.throw("udp4", "10.77.0.1:67", mangled(r, good.ToBytes()))
	inform, err := dhcpv4.NewInform(net.HardwareAddr{0x52, 0x54, 0, 0xbd, 1, 2}, net.IPv4(10, 77, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	s.throw("udp4", "10.77.0.1:67", mangled(r, inform.ToBytes()))
}

func garbageTFTP(_ *testing.T, s *site, r *rand.Rand) {
	s.throw("udp4", "10.77.0.1:69", mangled(r, []byte("\x00\x01undionly.kpxe\x00octet\x00blksize\x001468\x00windowsize\x0016\x00")))
	var names [][]byte
	for _, name := range []string{"../muster.db", "/../../etc/passwd", "..\\..\\etc\\passwd", "leak", "", ".", "a\x00b", strings.Repeat("a/", 200), "/", "hello.txt/"} {
		names = append(names, fmt.Appendf(nil, "\x00\x01%s\x00octet\x00", name), fmt.Appendf(nil, "\x00\x02%s\x00octet\x00", name))
	}
	s.throw("udp4", "10.77.0.1:69", names)
	for _, name := range []string{"../muster.db", "/../../etc/passwd", "leak", "../api.token"} {
		got := filepath.Join(s.dir, "got")
		out, err := s.rack.Command(s.t.Context(), "busybox", "tftp", "-g", "-r", name, "-l", got, "10.77.0.1").CombinedOutput()
		if err == nil {
			s.t.Errorf("TFTP gave %q: %s", name, out)
		}
	}
}

// raw sends bytes over one connection and reads what is answered until the server closes.
func (s *site) raw(addr string, b []byte) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	c, err := s.rack.Dial(ctx, "tcp4", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	_, _ = c.Write(b)
	_ = c.(*net.TCPConn).CloseWrite()
	out, _ := io.ReadAll(io.LimitReader(c, 1<<20))
	return string(out)
}

func garbageHTTP(_ *testing.T, s *site, r *rand.Rand) {
	for _, b := range mangled(r, []byte("GET /ipxe?mac=52-54-00-bd-02-01 HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n"))[:60] {
		// What is left of a good request would make a node, which is right, but not what this is about.
		s.raw("10.77.0.1:8080", bytes.ReplaceAll(b, []byte("mac="), []byte("cam=")))
	}
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 100_000) + "\r\n\r\n",
		"GET /" + strings.Repeat("y", 100_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/agent/hello HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /v1/agent/hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
	} {
		if got := s.raw("10.77.0.1:8080", []byte(request)); !strings.HasPrefix(got, "HTTP/1.1 4") {
			s.t.Errorf("%.40q… got %.80q", request, got)
		}
	}
	for _, mac := range []string{"", "x", "00", "zz-zz-zz-zz-zz-zz", strings.Repeat("00-", 5000), "%00", "%0A%0Aboot"} {
		got := s.raw("10.77.0.1:8080", []byte("GET /ipxe?mac="+mac+" HTTP/1.0\r\n\r\n"))
		if strings.Contains(got, "kernel ") || strings.Contains(got, "\nboot") {
			s.t.Errorf("mac=%.20q boots:\n%s", mac, got)
		}
	}
}

// escapes asks for files that are not served, as they are: Go's client would clean the path.
func escapes(_ *testing.T, s *site, _ *rand.Rand) {
	// A link that leads outside is the operator's mistake, which the log names; a client gets nothing.
	for _, path := range []string{
		"/files/../muster.db", "/files/..%2fmuster.db", "/files/%2e%2e/muster.db", "/files/%2e%2e%2fapi.token", "/files/..%5cmuster.db",
		"/files//etc/passwd", "/files/%2fetc%2fpasswd", "/files/leak", "/files/hello.txt%00", "/files/hello.txt/..", "/files/", "/files/.",
		"/nbp/..%2f..%2fetc%2fpasswd", "/nbp/%2fetc%2fpasswd", "/nbp/undionly.kpxe%00.txt",
		"/images/web/1/..%2fimage.json", "/images/web/1/image.json", "/images/web/1/tree", "/images/..%2fmuster.db/1/vmlinuz", "/images/web/-1/vmlinuz",
		"/images/web/1/%2fetc%2fpasswd", "/images/web/99999999999999999999/vmlinuz", "/images/%00/1/vmlinuz", "/images/web/current/vmlinuz",
	} {
		got := s.raw("10.77.0.1:8080", []byte("GET "+path+" HTTP/1.0\r\n\r\n"))
		status, _, _ := strings.Cut(got, "\r\n")
		if code := strings.Fields(status + " ? ?")[1]; code[0] != '4' && code[0] != '3' && path != "/files/leak" {
			s.t.Errorf("GET %s: %s", path, status)
		}
		if strings.Contains(got, "root:x:") || strings.Contains(got, "\xed\x0c\xda\xed") { // passwd, bbolt's magic
			s.t.Errorf("GET %s gave away a file", path)
		}
	}
}

func garbageAgent(_ *testing.T, s *site, r *rand.Rand) {
	good := []byte(`{"mac":"52:54:00:bd:03:01","token":"x","kernel":"6.1","uptime":1,"inventory":{"memory":1,"cpus":1,"nics":[{"name":"eth0","mac":"x"}]}}`)
	bodies := [][]byte{nil, []byte("null"), []byte("[]"), []byte(`{"mac":1}`), []byte(`{"mac":"x"}`), []byte(`{"mac":""}`), []byte(`{"uptime":1e400}`),
		[]byte(strings.Repeat("[", 100_000)), bytes.Repeat([]byte("x"), 2<<20), []byte(`{"mac":"` + strings.Repeat("x", 900_000) + `"}`)}
	for i, b := range append(bodies, mangled(r, good)[:40]...) {
		path := []string{"/v1/agent/hello", "/v1/agent/spec", "/v1/agent/events"}[i%3]
		if code := s.post(path, string(b)); code != 0 && code/100 != 4 {
			s.t.Errorf("%s with %.40q: status %d", path, b, code)
		}
	}
}

// garbageAPI does the same to the operators' API, over its unix socket.
func garbageAPI(t *testing.T, s *site, r *rand.Rand) {
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	}}}
	send := func(method, path string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://muster"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(req)
		if err != nil {
			return // it may hang up on a body that is too large
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s %s with %.40q: %s", method, path, body, resp.Status)
		}
	}
	for _, b := range mangled(r, []byte(`{"pool":"web","slot":"web-01"}`))[:60] {
		send("POST", "/v1/nodes/52:54:00:bd:04:01/power", b)
	}
	deep := "roles: " + strings.Repeat("[", 20_000)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%[1]c [%s]\n", c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	for _, b := range []string{"", "roles: 1", "\x00", "roles:\n- {name: ../../x}", deep, bomb, strings.Repeat("x", 9<<20), "roles: &a [*a]"} {
		if b == "" {
			continue // an empty declaration is one
		}
		send("POST", "/v1/apply", []byte(b))
	}
	for _, path := range []string{"/v1", "/index.htm", "/v1/nodes/%00", "/v1/nodes/..%2f..", "/v1/images/..%2f..%2fmuster.db", "/v1/images/web:-1", "/v1/nodes/x/boots/-1", "/v1/nodes?rev=-1"} {
		send("GET", path, nil)
	}
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(bytes.Repeat([]byte{0, 1, 2, 0xff, 10}, 10_000))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 400") {
		t.Errorf("binary on the API's socket got %q", line)
	}
	if _, err := api.Dial(s.socket).Version(t.Context()); err != nil {
		t.Errorf("the API after that: %v", err)
	}
	// On TCP nobody gets in without the token, whatever the request.
	for _, request := range []string{"GET /v1/nodes HTTP/1.0\r\n\r\n", "GET /v1/nodes HTTP/1.0\r\nAuthorization: Bearer \r\n\r\n", "DELETE /v1/nodes/x HTTP/1.0\r\nAuthorization: Bearer " + strings.Repeat("x", 5000) + "\r\n\r\n"} {
		if got := s.raw("127.0.0.1:8081", []byte(request)); !strings.HasPrefix(got, "HTTP/1.0 401") && !strings.HasPrefix(got, "HTTP/1.0 403") {
			t.Errorf("%.60q got %.80q", request, got)
		}
	}
}
