package nfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestKernelHasNFS(t *testing.T) {
	if !kernelHasNFS("nodev\tproc\nnodev\tnfsd\n") || kernelHasNFS("nodev\tnfs\n\text4\n") || kernelHasNFS("") {
		t.Error("nfsd is not told from other file systems")
	}
}

func TestKernelRefusesWhatIsMissing(t *testing.T) {
	k := &Kernel{}
	if err := k.Set(t.Context(), []Export{{Path: filepath.Join(t.TempDir(), "none")}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Set = %v, want ErrNotExist", err)
	}
}

func TestListedPort(t *testing.T) {
	for list, want := range map[string]int{
		"": 0, "udp 2049\ntcp 2049\ntcp 2049\n": 2049, "rdma 20049\n": 0, "ipv4 tcp 0.0.0.0 12049\n": 12049,
	} {
		if got := listedPort(list); got != want {
			t.Errorf("listedPort(%q) = %d, want %d", list, got, want)
		}
	}
}
