package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unwanted is what muster-init must not pull in, and why: every node loads it at every boot, and a bug in
// it is a machine that does not come up.
var unwanted = map[string]string{
	"github.com/hashicorp/go-memdb":  "the rack's state lives on the boot server",
	"go.etcd.io/":                    "the rack's state lives on the boot server",
	"github.com/spf13/":              "the kernel command line is its only configuration",
	"github.com/prometheus/":         "nobody scrapes an initramfs",
	"github.com/insomniacslk/dhcp":   "the boot server has decided the address: no third DHCP",
	"github.com/pin/tftp":            "boot files are the firmware's business",
	"github.com/vishvananda/netlink": "five netlink messages are not worth a megabyte",
	"github.com/diskfs/":             "it makes no images",
	"github.com/u-root/":             "it makes no initrd: it is in one",
	"muster/roles":                   "a node does not decide what it is",
	"muster/images":                  "an image is mounted, not managed",
	"muster/dhcpd":                   "it is no server",
	"muster/tftpd":                   "it is no server",
	"muster/config":                  "the kernel command line is its only configuration",
	"os/user":                        "there is no /etc/passwd yet",
	"html/template":                  "it shows no pages",
	"text/template":                  "it renders nothing, and reflection on methods keeps dead code alive",
}

func TestPullsInLittle(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "muster/httpboot/agent\n") {
		t.Fatal("the list is not muster-init's")
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		for prefix, why := range unwanted {
			if strings.HasPrefix(dep, prefix) {
				t.Errorf("muster-init pulls in %s: %s", dep, why)
			}
		}
	}
}

// maxSize is what the binary may have in an initrd. Most of it is net/http and its TLS.
const maxSize = 8 << 20

func TestStaysSmall(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "muster-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	st, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > maxSize {
		t.Errorf("muster-init has %d bytes, more than %d", st.Size(), maxSize)
	}
	// Outside of an initramfs it does nothing at all.
	out, err := exec.Command(bin).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only as process 1") {
		t.Errorf("run by hand: %v: %s", err, out)
	}
}
