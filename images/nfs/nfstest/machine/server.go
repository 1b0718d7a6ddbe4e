//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// runTest runs the test binary's tests that match, on a real file system and beside the kernel's NFS server.
// What they say goes to the second serial port, with the exit code in the last line.
func runTest(match string) error {
	for _, m := range []string{"nfsd", "virtio_blk", "ext4"} {
		if err := load(m); err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	for _, dir := range []string{"/srv", "/run", "/tmp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	err := errors.Join(unix.Mount("/dev/vda", "/srv", "ext4", 0, ""), unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	if err != nil {
		return err
	}
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	test := exec.Command("/test", "-test.run", match, "-test.v", "-test.timeout=2m")
	test.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TMPDIR=/srv", "MUSTER_NFSTEST_INSIDE=machine"}
	test.Stdout, test.Stderr = out, out
	if err := test.Run(); test.ProcessState == nil {
		return err
	}
	fmt.Fprintf(out, "\nexit %d\n", test.ProcessState.ExitCode())
	return out.Close()
}
