package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// work is what all tests of one run share.
var work struct {
	dir    string // removed at the end
	bin    string // muster and muster-init
	images string // the data directory in which the images were built
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run() // every test says that it is skipped
	}
	defer func() { _ = os.RemoveAll(work.dir) }()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// prepare builds the programs and the images. MUSTER_E2E_DATA names a data directory whose images are
// used again, for people who run one test many times.
func prepare() (err error) {
	if work.dir, err = os.MkdirTemp("", "muster-e2e-"); err != nil {
		return err
	}
	work.bin = filepath.Join(work.dir, "bin")
	for _, cmd := range []string{"muster", "muster-init"} {
		build := exec.Command("go", "build", "-o", filepath.Join(work.bin, cmd), "muster/cmd/"+cmd)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build %s: %w", cmd, err)
		}
	}
	work.images = os.Getenv("MUSTER_E2E_DATA")
	if work.images == "" {
		work.images = filepath.Join(work.dir, "images")
	}
	conf := filepath.Join(work.dir, "build.yaml")
	if err := os.WriteFile(conf, []byte(configYAML(work.images, "/nowhere.sock", "")), 0o644); err != nil {
		return err
	}
	rack := filepath.Join(work.dir, "build-rack.yaml")
	if err := os.WriteFile(rack, []byte(rackYAML), 0o644); err != nil {
		return err
	}
	for _, role := range []string{"web", "ntp"} {
		if err := buildImage(role, rack); err != nil {
			return err
		}
	}
	return nil
}

// buildImage builds the image of a role that the file rack declares, unless it is there.
func buildImage(role, rack string) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(work.bin, "muster"), "--config", filepath.Join(work.dir, "build.yaml"),
		"image", "build", role, "--local", "--file", rack, "--if-missing").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build image %s: %w\n%s", role, err, out)
	}
	fmt.Printf("e2e: image %s in %.0f s\n", role, time.Since(began).Seconds())
	return nil
}
