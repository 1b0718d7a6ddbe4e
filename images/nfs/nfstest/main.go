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

// inMachine is the value of inside in a server's machine; that machine's /init sets it.
const inMachine = "machine"

// InMachine says that this test runs in a server's machine (see RunInMachine).
func InMachine() bool { return os.Getenv(inside) == inMachine }

// Main is TestMain's body: as root it runs the tests in a network and a mount namespace of their own, with
// a /run of their own, so that they meet no rpcbind or NFS server of the machine. The namespaces end with
// the tests. Otherwise it runs them where they are, and those that need root skip.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run()
	}
	switch os.Getenv(inside) {
	case "":
		return again()
	case "2", inMachine: // a test's own child joins what is there; a machine is nobody else's
		return m.Run()
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
	// The namespace has no way to a package mirror. A test that needs these fails if this did.
	for _, tree := range []func() (string, error){kernelTree, serverTree} {
		if _, err := tree(); err != nil {
			fmt.Fprintln(os.Stderr, "nfstest:", err)
		}
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
