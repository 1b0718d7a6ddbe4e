package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	tftpSize = 30 << 20
	// tftpRounds: the servers take turns, so that a machine that is busy for a while is so for all; the median counts.
	tftpRounds = 3
	tftpTime   = 1500 * time.Millisecond
)

// tftpCase is a column of the table.
type tftpCase struct {
	wire            string // veth, loopback, or slow: 5 ms and 1 % loss in each direction
	blksize, window int
	clients         int
	time            time.Duration
}

func (c tftpCase) String() string {
	return fmt.Sprintf("%s blksize=%d window=%d clients=%d", c.wire, c.blksize, c.window, c.clients)
}

// tftpCases are what is measured.
func tftpCases() (all []tftpCase) {
	for _, wire := range []string{"veth", "loopback"} {
		for _, b := range []int{512, 1428, 8192} {
			all = append(all, tftpCase{wire, b, 1, 1, tftpTime})
		}
		all = append(all, tftpCase{wire, 1428, 16, 1, tftpTime})
		for _, n := range []int{20, 200} {
			if wire == "veth" {
				all = append(all, tftpCase{wire, 1428, 1, n, tftpTime * 3 / 2})
			}
			all = append(all, tftpCase{wire, 1428, 16, n, tftpTime * 3 / 2})
		}
	}
	return append(all, tftpCase{"slow", 1428, 1, 1, 4 * tftpTime}, tftpCase{"slow", 1428, 16, 1, 4 * tftpTime})
}

// BenchmarkTFTP compares TFTP servers side by side: make bench-tftp.
func BenchmarkTFTP(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root: it makes network namespaces")
	}
	for _, tool := range []string{"dnsmasq", "ip", "ss", peer("tftpd-hpa", "in.tftpd"), peer("atftpd", "atftpd")} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("needs %s", tool)
		}
	}
	d := &tftpBench{bin: musterBinary(b), files: b.TempDir(), kinds: tftpKinds, rounds: tftpRounds}
	if only := os.Getenv("MUSTER_BENCH_TFTP"); only != "" {
		d.kinds = strings.Split(only, ",")
	}
	if n, err := strconv.Atoi(os.Getenv("MUSTER_BENCH_ROUNDS")); err == nil {
		d.rounds = n
	}
	content := make([]byte, tftpSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	if err := os.WriteFile(filepath.Join(d.files, "kernel"), content, 0o644); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		d.table(b)
	}
}

type tftpBench struct {
	bin, files string
	kinds      []string
	rounds     int
	veth, slow *cable
}

// wire gives the cable of a case.
func (d *tftpBench) wire(b *testing.B, name string) *cable {
	b.Helper()
	at := &d.veth
	if name == "slow" {
		at = &d.slow
	}
	if *at != nil {
		return *at
	}
	if d.veth != nil { // a process has one
		d.veth.close()
		d.veth = nil
	}
	w, err := newCable()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.close)
	if name == "slow" {
		slow, err := newCarrier(w, 5*time.Millisecond, 1)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(slow.close)
	}
	shell(b, fmt.Sprintf("ip -n %s route add local 10.77.0.0/24 dev lo", w.clients))
	*at = w
	return w
}

func shell(b *testing.B, script string) {
	b.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", script, err, out)
	}
}

// table measures all cases and prints them.
func (d *tftpBench) table(b *testing.B) {
	fmt.Printf("\n%-50s %-10s %10s %8s %10s %8s %8s %7s\n", "", "", "MB/s", "ratio", "CPU s/GB", "ratio", "slowest", "window")
	for _, c := range tftpCases() {
		if only := os.Getenv("MUSTER_BENCH_CASE"); only != "" && !strings.Contains(c.String(), only) {
			continue
		}
		results := map[string][]tftpResult{}
		for range d.rounds {
			for _, kind := range d.kinds {
				results[kind] = append(results[kind], d.measure(b, c, kind))
			}
		}
		d.print(c, results)
	}
}

// measure runs a fresh server and all clients.
func (d *tftpBench) measure(b *testing.B, c tftpCase, kind string) tftpResult {
	b.Helper()
	l := &tftpLoad{file: "kernel", blksize: c.blksize, window: c.window, clients: c.clients,
		server: netip.MustParseAddrPort(serverAddr + ":69"), source: netip.MustParseAddr("10.77.0.1")}
	w := d.wire(b, c.wire)
	namespace := w.clients
	if c.wire == "loopback" {
		namespace, l.server, l.source = w.servers, netip.MustParseAddrPort("127.0.0.1:69"), netip.MustParseAddr("127.0.1.1")
	}
	mtu := 1500
	if c.blksize > mtu {
		mtu = 9000
	}
	shell(b, fmt.Sprintf("ip -n %s link set eth0 mtu %d; ip -n %s link set eth0 mtu %d", w.servers, mtu, w.clients, mtu))
	s, err := startTFTP(w, kind, b.TempDir(), d.files, d.bin)
	if err != nil {
		b.Fatal(err)
	}
	defer s.stop()
	var r tftpResult
	err = inside(namespace, func() (err error) {
		warm := *l
		warm.clients = 1
		if _, err := warm.run(100 * time.Millisecond); err != nil {
			return err
		}
		before := s.group.cpu()
		r, err = l.run(c.time)
		r.cpu = s.group.cpu() - before
		return err
	})
	if err != nil {
		b.Fatalf("%s, %s: %v\n%s", kind, c, err, &s.log)
	}
	return r
}

// print compares each server with the best of the others.
func (d *tftpBench) print(c tftpCase, results map[string][]tftpResult) {
	median := func(kind string, f func(tftpResult) float64) float64 {
		var all []float64
		for _, r := range results[kind] {
			all = append(all, f(r))
		}
		slices.Sort(all)
		if len(all) == 0 {
			return 0
		}
		return all[len(all)/2]
	}
	rate := func(kind string) float64 { return median(kind, func(r tftpResult) float64 { return r.rate() }) }
	cpu := func(kind string) float64 { return median(kind, func(r tftpResult) float64 { return r.cpuPerGB() }) }
	best, least := 0.0, 0.0
	for _, kind := range d.kinds {
		if kind == "muster" {
			continue
		}
		best = max(best, rate(kind))
		if v := cpu(kind); least == 0 || v < least {
			least = v
		}
	}
	name := c.String()
	for _, kind := range d.kinds {
		r := results[kind][0]
		fmt.Printf("%-50s %-10s %10.1f %8.2f %10.2f %8.2f %8.1f %7d   again %d\n", name, kind, rate(kind), rate(kind)/max(best, 1e-9),
			cpu(kind), cpu(kind)/max(least, 1e-9), float64(r.each[0])/1e6, r.window, r.again)
		name = ""
	}
}
