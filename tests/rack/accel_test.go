package rack

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeQEMU puts a shell script in QEMU's place and returns a file in the place of /dev/kvm.
func fakeQEMU(t *testing.T, script string) (device string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	device = filepath.Join(dir, "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return device
}

func TestProbeKVM(t *testing.T) {
	t.Run("guest boots", func(t *testing.T) {
		device := fakeQEMU(t, `printf 'Sea'; printf 'BIOS (version 1)\n'; exec sleep 3600`)
		if err := bootKVM(t.Context(), device); err != nil {
			t.Error(err)
		}
	})
	t.Run("no guest", func(t *testing.T) {
		device := fakeQEMU(t, `echo first >&2; echo 'failed to set MSR 0x10a' >&2; kill -ABRT $$`)
		if err := bootKVM(t.Context(), device); err == nil || !strings.HasSuffix(err.Error(), "\nfailed to set MSR 0x10a") {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("guest hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := bootKVM(ctx, fakeQEMU(t, `exec sleep 3600`)); err == nil {
			t.Error("a guest that says nothing passed")
		}
	})
	t.Run("no device", func(t *testing.T) {
		if err := bootKVM(t.Context(), "/no/such/kvm"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got error %v, want not exist", err)
		}
	})
}

func TestResolve(t *testing.T) {
	if got, err := AccelTCG.resolve(t.Context()); got != AccelTCG || err != nil {
		t.Errorf("tcg: got %s, error %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := AccelAuto.resolve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v", err)
	}
}
