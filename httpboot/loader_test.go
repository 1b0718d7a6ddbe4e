package httpboot

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestLoaders: the same decision in every loader's language.
func TestLoaders(t *testing.T) {
	m := Machine{MAC: "52:54:00:aa:00:01", Base: "http://10.77.0.1:8080"}
	boot := Script{Kind: Boot, Title: "web:7 as web-03", Kernel: "/images/web/7/vmlinuz", Initrd: "/images/web/7/initrd.img",
		Cmdline: "quiet it's=$x;y", Token: "t0ken", Address: netip.MustParsePrefix("10.77.0.20/24")}
	wait := Script{Message: "for ${somebody}\nto decide", Retry: 20 * time.Second}
	local := Script{Kind: Local, Message: "(it's a host)"}
	var b strings.Builder
	for _, l := range []struct {
		name   string
		loader Loader
	}{{"pxelinux", PXELinux}, {"grub", GRUB}, {"pi", RaspberryPi}} {
		for _, sc := range []struct {
			name   string
			script Script
		}{{"boot", boot}, {"wait", wait}, {"local", local}} {
			got, err := l.loader.Orders(m, sc.script, "again/01-x")
			if l.loader == RaspberryPi && sc.script.Kind != Boot {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s, %s: %v, want that there is none", l.name, sc.name, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("-- " + l.name + ", " + sc.name + " --\n")
			b.Write(got)
		}
	}
	golden(t, "loaders.txt", b.String())
	boot.Address = netip.Prefix{}
	if _, err := GRUB.Orders(m, boot, ""); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a boot without address: %v", err)
	}
}
