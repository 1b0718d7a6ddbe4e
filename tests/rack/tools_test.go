package rack

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
)

func TestNeedNamesPackageAndCommand(t *testing.T) {
	err := need([]tool{{"sh", "dash"}, {"muster-no-such-tool", "qemu-system-x86"}, {"/no/such/OVMF.fd", "ovmf"}})
	want := "rack: needs muster-no-such-tool: install the Debian package qemu-system-x86, or run make setup: file does not exist\n" +
		"rack: needs /no/such/OVMF.fd: install the Debian package ovmf, or run make setup: file does not exist"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := need([]tool{{"sh", "dash"}}); err != nil {
		t.Errorf("nothing is missing, got %v", err)
	}
}

func TestNewWithoutTools(t *testing.T) {
	if err := needRoot(1000); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("no root: got %v", err)
	}
	if err := needTun("/no/such/tun"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "modprobe tun") {
		t.Errorf("no tun: got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := New(context.Background(), Options{}); err == nil {
		t.Error("made a rack without any tool")
	}
}

func TestOptionsInvalid(t *testing.T) {
	for _, o := range []Options{
		{Server: netip.MustParsePrefix("fd00::1/64")},
		{Dir: "/run/lab"},
		{Accel: "hvf"},
	} {
		if err := o.defaults(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: got error %v, want invalid", o, err)
		}
	}
	var o Options
	if err := o.defaults(); err != nil || o.Server.String() != DefaultServer || o.Accel != AccelAuto {
		t.Errorf("defaults: got %+v, error %v", o, err)
	}
}
