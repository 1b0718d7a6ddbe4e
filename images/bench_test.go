package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkBuild compares the whole of a build, from nothing to a published version, with mmdebstrap alone and
// the same packages of the same sources: each round runs both, and then a build whose packages are in the cache.
// It needs some ten minutes and the network:
//
//	go test -run '^$' -bench Build -benchtime 5x -timeout 30m ./images
//
// The goal is a ratio of at most 1.15. Both run with the same niceness, on the same file system.
// MUSTER_BENCH_KERNEL=cloud takes the small kernel.
func BenchmarkBuild(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root: mmdebstrap makes other users' files")
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		b.Skipf("needs mmdebstrap: %v", err)
	}
	agent := filepath.Join(b.TempDir(), "agent")
	if err := os.WriteFile(agent, []byte(strings.Repeat("agent", 1<<20)), 0o755); err != nil {
		b.Fatal(err)
	}
	recipe, err := Recipe{Packages: []string{"nginx-light"}, Services: []string{"nginx.service"}, Kernel: os.Getenv("MUSTER_BENCH_KERNEL")}.complete("web")
	if err != nil {
		b.Fatal(err)
	}
	var bare, cold, warm, bareCPU, coldCPU, warmCPU time.Duration
	for b.Loop() {
		dir := b.TempDir()
		f, err := newFeed(os.DirFS("/etc"), recipe, dir)
		if err != nil {
			b.Fatal(err)
		}
		args := append([]string{"-n", "10", "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase",
			"--aptopt=APT::Install-Recommends \"false\"", "--include=" + strings.Join(recipe.packages(f.lines), ","), recipe.Suite, filepath.Join(dir, "bare")}, f.lines...)
		start, cpu := time.Now(), cpuTime(b)
		cmd := exec.Command("nice", args...)
		cmd.Env = append(os.Environ(), "INITRD=No", "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		bare += time.Since(start)
		bareCPU += cpuTime(b) - cpu
		builder := &Builder{Catalog: &Catalog{Dir: filepath.Join(dir, "images")}, Cache: filepath.Join(dir, "cache"), Agent: agent}
		for _, sum := range []struct{ took, cpu *time.Duration }{{&cold, &coldCPU}, {&warm, &warmCPU}} {
			start, cpu := time.Now(), cpuTime(b)
			stages := map[Stage]time.Duration{}
			var last Progress
			_, err := builder.Build(b.Context(), "web", recipe, Options{Progress: func(p Progress) {
				stages[last.Stage] += p.Elapsed - last.Elapsed
				last = p
			}})
			if err != nil {
				b.Fatal(err)
			}
			*sum.took += time.Since(start)
			*sum.cpu += cpuTime(b) - cpu
			b.Logf("%s, %s of processor time: %v", time.Since(start).Round(time.Millisecond), (cpuTime(b) - cpu).Round(time.Millisecond), stages)
		}
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(b.N)
	b.ReportMetric(bare.Seconds()/n, "bare-s")
	b.ReportMetric(cold.Seconds()/n, "build-s")
	b.ReportMetric(warm.Seconds()/n, "cached-s")
	b.ReportMetric(bareCPU.Seconds()/n, "bare-cpu-s")
	b.ReportMetric(coldCPU.Seconds()/bareCPU.Seconds(), "cpu-ratio")
	b.ReportMetric(warmCPU.Seconds()/bareCPU.Seconds(), "cached-cpu-ratio")
	b.ReportMetric(cold.Seconds()/bare.Seconds(), "ratio")
	b.ReportMetric(warm.Seconds()/bare.Seconds(), "cached-ratio")
}

// cpuTime is the processor time of this process and of what it waited for: on a machine that does other things
// as well, it tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
