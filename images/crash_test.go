package images

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// buildIn makes a re-executed test binary build in that directory until it is killed.
const buildIn = "MUSTER_IMAGES_BUILD_IN"

// A build whose Muster is killed leaves no process and no mount, and the next start removes its files.
func TestKilledInMidBuild(t *testing.T) {
	if dir := os.Getenv(buildIn); dir != "" {
		b := &Builder{Catalog: &Catalog{Dir: filepath.Join(dir, "images")}, Cache: dir, Agent: filepath.Join(dir, "agent"), Mmdebstrap: filepath.Join(dir, "mmdebstrap")}
		_, err := b.Build(t.Context(), "web", Recipe{}, Options{})
		t.Fatalf("the build ended: %v", err)
	}
	b := testBuilder(t, `
mount -t tmpfs tmpfs "$tree/boot"
exec flock "$tree/../../../held" sh -c ': >'"$tree"'/../../../building; sleep 1000'
`)
	dir := filepath.Dir(b.Agent)
	us := exec.Command("/proc/self/exe", "-test.run", "^TestKilledInMidBuild$")
	us.Env = append(os.Environ(), buildIn+"="+dir)
	must(t, us.Start())
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				_ = us.Process.Kill()
				t.Fatal(what)
			}
		}
	}
	wait("the build did not begin", func() bool {
		_, err := os.Stat(filepath.Join(b.Catalog.Dir, "building"))
		return err == nil
	})
	if len(leftovers(t, b)) == 0 {
		t.Error("nothing to clean while it builds: the test tests nothing")
	}
	must(t, us.Process.Kill())
	_ = us.Wait() // it was killed
	f, err := os.Open(filepath.Join(b.Catalog.Dir, "held"))
	must(t, err)
	defer f.Close()
	wait("a process of the build lives on", func() bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil })
	must(t, b.Catalog.Clean())
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("after Clean there is %q", left)
	}
	if _, err := b.Catalog.Find(Ref{Name: "web"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find = %v, want ErrNotExist", err)
	}
	// The name can be built again; the build that died has used up no number.
	must(t, os.WriteFile(b.Mmdebstrap, []byte(fakeDebstrap+finishTree), 0o755))
	img, err := b.Build(t.Context(), "web", Recipe{}, Options{})
	if err != nil || img.Ref.Version != 1 {
		t.Errorf("the next build gave %s, %v; want web:1", img.Ref, err)
	}
}
