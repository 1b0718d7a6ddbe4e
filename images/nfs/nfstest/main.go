package nfstest

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// inside tells a re-executed test binary that it is in the namespaces.
const inside = "MUSTER_NFSTEST_INSIDE"

// Main is TestMain's body: as root it runs the tests in a network and a mount namespace of their own, with
// a /run of their own, so that they meet no rpcbind or NFS server of the machine. The namespaces end with
// the tests. Otherwise it runs them where they are, and those that need root skip.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run()
	}
	if os.Getenv(inside) == "" {
		return again()
	}
	if os.Getenv(inside) == "2" {
		return m.Run() // a test's own child: it joins what is there
	}
	if err := os.Setenv(inside, "2"); err != nil {
		fmt.Fprintln(os.Stderr, "nfstest:", err)
		return 1
	}
	for _, argv := range [][]string{{"mount", "-t", "tmpfs", "tmpfs", "/run"}, {"ip", "link", "set", "lo", "up"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "nfstest: %v: %v: %s\n", argv, err, out)
			return 1
		}
	}
	return m.Run()
}

// again runs this binary in the namespaces and gives its exit code.
func again() int {
	// The namespace has no way to a package mirror. A test that needs the kernel fails if this did.
	if _, err := kernelTree(); err != nil {
		fmt.Fprintln(os.Stderr, "nfstest:", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	signal.Ignore(os.Interrupt) // it is the tests' to heed
	if err := cmd.Run(); err != nil {
		if _, is := err.(*exec.ExitError); !is {
			fmt.Fprintln(os.Stderr, "nfstest:", err)
		}
		return 1
	}
	return 0
}
