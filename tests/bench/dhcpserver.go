package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cable is two network namespaces with a veth pair between them: the servers' and the clients'.
type cable struct{ servers, clients string }

const (
	serverAddr = "10.76.0.1"
	relayAddr  = "10.76.0.2"
)

func newCable() (*cable, error) {
	w := &cable{fmt.Sprintf("dhcp-srv-%d", os.Getpid()), fmt.Sprintf("dhcp-cli-%d", os.Getpid())}
	script := `ip netns add $S; ip netns add $C
ip -n $S link add eth0 type veth peer name eth0 netns $C
ip -n $S addr add ` + serverAddr + `/14 dev eth0; ip -n $C addr add ` + relayAddr + `/14 dev eth0
for n in $S $C; do ip -n $n link set lo up; ip -n $n link set eth0 up; done`
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), "S="+w.servers, "C="+w.clients)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.close()
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return w, nil
}

func (w *cable) close() {
	for _, n := range []string{w.servers, w.clients} {
		_ = exec.Command("ip", "netns", "del", n).Run()
	}
}

// dhcpServer is a DHCP server under load.
type dhcpServer struct {
	cmd *exec.Cmd
	dir string
	log bytes.Buffer
}

// ranges are the pools: a /16 as everybody has it, and one for more leases than that.
const (
	normalRange = "10.77.0.0-10.77.255.255"
	largeRange  = "10.76.1.0-10.79.255.250"
)

// startDHCP starts a server of a kind in dir, which keeps its leases, and waits until it has its socket.
func startDHCP(w *cable, kind, dir, pool string, bin string) (*dhcpServer, error) {
	first, last, _ := strings.Cut(pool, "-")
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			panic(err)
		}
		return p
	}
	var args []string
	switch kind {
	case "kea":
		args = []string{"kea-dhcp4", "-c", file("kea.json", fmt.Sprintf(`{"Dhcp4": {
 "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
 "lease-database": {"type": "memfile", "persist": true, "name": "%s/kea.csv", "lfc-interval": 0},
 "multi-threading": {"enable-multi-threading": true}, "valid-lifetime": 3600,
 "subnet4": [{"subnet": "10.76.0.0/14", "pools": [{"pool": "%s"}]}],
 "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}]}}`, dir, pool))}
	case "dnsmasq":
		args = []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--user=root", "--pid-file=",
			"--dhcp-authoritative", "--no-ping", "--quiet-dhcp", "--dhcp-lease-max=200000", "--dhcp-leasefile=" + dir + "/dnsmasq.leases",
			"--dhcp-range=" + first + "," + last + ",255.252.0.0,1h"}
	default:
		args = []string{bin, "--config", file("muster.yaml", fmt.Sprintf(`data: %s/data
library: /nonexistent
dhcpd:
  interfaces: [eth0]
  newcomers: {rate: -1, total: -1}
  subnets: [{subnet: 10.76.0.0/14, range: %s}]
images: {nfs: {server: external, address: %s}}
api: {socket: %s/muster.sock}
`, dir, pool, serverAddr, dir)), "serve"}
	}
	s := &dhcpServer{dir: dir, cmd: exec.Command("ip", append([]string{"netns", "exec", w.servers}, args...)...)}
	s.cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "KEA_DHCP_DATA_DIR="+dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if listens(w.servers, 67) {
		return s, nil
	}
	s.stop()
	return nil, fmt.Errorf("%s does not listen: %s", kind, &s.log)
}

func (s *dhcpServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// cpu is what the server has used. (ip netns exec becomes the server.)
func (s *dhcpServer) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// heap is what of Muster's memory was in use when it last collected garbage, in bytes: by default the next collection
// is at twice of that.
func (s *dhcpServer) heap(tb testing.TB) float64 {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "muster.sock"))
	}}}
	resp, err := client.Get("http://muster/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "go_memstats_next_gc_bytes "); ok {
			next, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				tb.Fatal(err)
			}
			return next / 2
		}
	}
	tb.Fatal("the metrics have no go_memstats_next_gc_bytes")
	return 0
}

// perfdhcp runs ISC's generator and gives ACKs per second and the part of the exchanges that failed.
func perfdhcp(ctx context.Context, w *cable, run, rate, seconds int) (acks, lost float64, err error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", w.clients, "perfdhcp", "-4", "-l", relayAddr, "-r", fmt.Sprint(rate),
		"-R", "10000000", "-b", fmt.Sprintf("mac=00:0c:%02x:00:00:00", run%256), "-n", fmt.Sprint(rate*seconds), "-W", "1000000", serverAddr)
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 3 {
		err = nil // some exchanges were not completed: the figures say how many
	}
	if err != nil {
		return 0, 0, fmt.Errorf("perfdhcp: %w: %s", err, out)
	}
	// Two sections of statistics: DISCOVER-OFFER, REQUEST-ACK.
	var sent, received []float64
	for line := range strings.Lines(string(out)) {
		name, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.ParseFloat(strings.Fields(v + " 0")[0], 64)
		switch name {
		case "sent packets":
			sent = append(sent, n)
		case "received packets":
			received = append(received, n)
		case "Rate":
			acks = n
		}
	}
	if len(sent) != 2 || len(received) != 2 || sent[0] == 0 {
		return 0, 0, fmt.Errorf("perfdhcp says: %s", out)
	}
	return acks, 1 - received[1]/sent[0], nil
}
