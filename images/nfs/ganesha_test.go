package nfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"muster/images/nfs"
	"muster/images/nfs/nfstest"
)

func TestMain(m *testing.M) { os.Exit(nfstest.Main(m)) }

// needs skips a test where root or a tool is missing.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: namespaces and NFS ports")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

// ganeshaPID reads the child's id.
func ganeshaPID(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "ganesha.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestGaneshaConforms(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind", "qemu-system-x86_64", "depmod")
	dir := t.TempDir()
	nfstest.Run(t, t.TempDir(), func(t *testing.T) nfstest.Server {
		return nfstest.Server{
			Exports: &nfs.Ganesha{Dir: dir},
			Kill: func() {
				if err := syscall.Kill(ganeshaPID(t, dir), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
	if t.Failed() {
		b, _ := os.ReadFile(filepath.Join(dir, "ganesha.log"))
		t.Logf("ganesha.log:\n%s", b)
	}
}

func TestAutoSaysWhyNotTheKernel(t *testing.T) {
	needs(t, "ganesha.nfsd", "rpcbind") // and so it is in a network namespace, see nfstest.Main
	server, why, err := nfs.Auto(nfs.Options{Dir: t.TempDir()})
	if _, is := server.(*nfs.Ganesha); err != nil || !is || !strings.Contains(why, "the kernel's server cannot be used (nfs: ") {
		t.Errorf("Auto = %T (%s), %v", server, why, err)
	}
}
