package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/tests/rack"
)

// kinds are what is compared, in the order of the table.
var kinds = []string{"reference", "nfs", "ram"}

// BenchmarkBoot boots one machine by each stack in turn, as often as -benchtime says (make bench-boot: 5x). The
// roots are made once: b.Loop does not begin anew as b.N does.
func BenchmarkBoot(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root: it boots machines")
	}
	cache := keep(b)
	stands := map[string]*stand{"reference": newReference(b, cache)}
	for _, mode := range kinds[1:] {
		stands[mode] = newMuster(b, cache, mode)
	}
	got := map[string][]boot{}
	for i := 0; b.Loop(); i++ {
		order := slices.Clone(kinds)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, kind := range order {
			s := stands[kind]
			res, err := run(b.Context(), s.rack, s.machine, "http://10.77.0.20/")
			if err != nil {
				b.Fatalf("%s: %v", kind, err)
			}
			got[kind] = append(got[kind], res)
			fmt.Printf("%-9s  %s\n", kind, line(res))
			if i == 0 {
				s.idle(b)
			}
			if err := s.machine.Off(); err != nil {
				b.Fatal(err)
			}
		}
	}
	table(b, got, stands)
}

// stand is one stack with its rack and its machine.
type stand struct {
	rack    *rack.Rack
	machine *rack.Machine
	memory  string // of the idle node
}

func newStand(b *testing.B) *stand {
	r, err := rack.New(b.Context(), rack.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	m, err := r.Add(rack.MachineSpec{Firmware: rack.BIOS})
	if err != nil {
		b.Fatal(err)
	}
	return &stand{rack: r, machine: m}
}

func newReference(b *testing.B, cache string) *stand {
	s := newStand(b)
	ref := &reference{dir: filepath.Join(cache, "reference"), rack: s.rack}
	if err := ref.build(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := ref.serve(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

// keep is where roots stay from run to run: MUSTER_BENCH_DATA, or a directory that goes with the benchmark.
func keep(b *testing.B) string {
	if dir := os.Getenv("MUSTER_BENCH_DATA"); dir != "" {
		return dir
	}
	return b.TempDir()
}

const musterYAML = `data: %s
library: /nonexistent
dhcpd:
  interfaces: [br0]
  subnets: [{subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199}]
api: {socket: %s}
power: {lab: {socket: %s}}
`

const rackYAML = `
roles:
- {name: web, root: %s, build: {kernel: cloud, overlay: %s}}
pools:
- {name: web, role: web, addresses: 10.77.0.20-10.77.0.20, match: {firmware: [bios]}}
`

// newMuster starts a boot server whose web nodes have their root as mode says.
func newMuster(b *testing.B, cache, mode string) *stand {
	s := newStand(b)
	dir := b.TempDir()
	overlay := filepath.Join(dir, "overlay")
	if out, err := exec.Command("sh", "-ec", "mkdir -p "+overlay+"/etc/systemd/system\n"+probe(overlay)).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	bin := filepath.Join(dir, "bin")
	for _, cmd := range []string{"muster", "muster-init"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, cmd), "muster/cmd/"+cmd)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	images, data := filepath.Join(cache, "muster"), filepath.Join(dir, "data")
	socket, lab := filepath.Join(dir, "muster.sock"), filepath.Join(dir, "lab.sock")
	conf, declared := filepath.Join(dir, "muster.yaml"), filepath.Join(dir, "rack.yaml")
	write(b, conf, fmt.Sprintf(musterYAML, images, socket, lab))
	write(b, declared, fmt.Sprintf(rackYAML, mode, overlay))
	go func() { _ = s.rack.ServeLab(b.Context(), lab) }() // ends with the benchmark

	muster := func(args ...string) ([]byte, error) {
		return exec.Command(filepath.Join(bin, "muster"), append([]string{"--config", conf, "--socket", socket}, args...)...).CombinedOutput()
	}
	if out, err := muster("image", "build", "web", "--local", "--file", declared, "--if-missing"); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	// Each stack has its own state, and all the same image, signed by the same key.
	if out, err := exec.Command("sh", "-ec", "mkdir "+data+" && cp -al "+images+"/images "+data+" && cp -a "+images+"/keys "+data).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	write(b, conf, fmt.Sprintf(musterYAML, data, socket, lab))
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		b.Fatal(err)
	}
	serve := s.rack.Command(context.Background(), filepath.Join(bin, "muster"), "--config", conf, "serve")
	serve.Stdout, serve.Stderr = log, log
	if err := serve.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = serve.Process.Signal(os.Interrupt); _ = serve.Wait(); log.Close() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := muster("apply", "-f", declared)
		if err == nil && mode == "ram" { // not while the first machine waits for it
			out, err = muster("image", "pack", "web")
		}
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			b.Fatalf("muster apply: %v: %s", err, out)
		}
	}
}

func write(b *testing.B, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// idle waits for the probe's line.
func (s *stand) idle(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	found, err := s.machine.WaitConsole(ctx, idleMemory)
	if err != nil {
		b.Error(err)
		return
	}
	m := idleMemory.FindStringSubmatch(found)
	total, _ := strconv.Atoi(m[1])
	free, _ := strconv.Atoi(m[2])
	s.memory = fmt.Sprintf("%d of %d MB", (total-free)>>10, total>>10)
}

func line(r boot) string {
	return fmt.Sprintf("power-on → answer %5.1f s   kernel → answer %5.1f s   kernel → switch_root %5.1f s   → systemd %5.1f s   %5.1f MB",
		r.total.Seconds(), r.service().Seconds(), r.initrd.Seconds(), r.systemd.Seconds(), float64(r.wire)/1e6)
}

// table prints medians and their ratios to the reference, and reports the ratios as metrics.
func table(b *testing.B, got map[string][]boot, stands map[string]*stand) {
	rows := []struct {
		name, metric, unit string
		value              func(boot) float64
	}{
		{"power-on → service answers", "power-on", "s", func(r boot) float64 { return r.total.Seconds() }},
		{"kernel start → service answers", "kernel", "s", func(r boot) float64 { return r.service().Seconds() }},
		{"kernel start → switch_root", "initrd", "s", func(r boot) float64 { return r.initrd.Seconds() }},
		{"kernel start → the root's systemd", "systemd", "s", func(r boot) float64 { return r.systemd.Seconds() }},
		{"bytes on the wire", "wire", "MB", func(r boot) float64 { return float64(r.wire) / 1e6 }},
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\nmedians of %d boots each, in turn\n%-36s%12s", len(got["reference"]), "", "reference")
	for _, k := range kinds[1:] {
		fmt.Fprintf(&out, "%20s", "muster "+k)
	}
	for _, row := range rows {
		ref := median(got["reference"], row.value)
		fmt.Fprintf(&out, "\n%-36s%9.1f %-2s", row.name, ref, row.unit)
		for _, k := range kinds[1:] {
			v := median(got[k], row.value)
			fmt.Fprintf(&out, "%10.1f %-2s %.2f×", v, row.unit, v/ref)
			b.ReportMetric(v/ref, row.metric+"-"+k+"/reference")
		}
	}
	fmt.Fprintf(&out, "\n%-36s", "memory used by the idle node")
	for _, k := range kinds {
		fmt.Fprintf(&out, "%18s", stands[k].memory)
	}
	fmt.Println(out.String())
}

func median(all []boot, value func(boot) float64) float64 {
	var v []float64
	for _, r := range all {
		v = append(v, value(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}
