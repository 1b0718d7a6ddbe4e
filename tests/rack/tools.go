package rack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
)

// tool is something that Debian ships and a rack needs.
type tool struct {
	// name is a program, found in the PATH, or the absolute path of a file.
	name string
	pkg  string
}

// The tools that every rack needs, and those that only some calls need.
var (
	rackTools = []tool{{"qemu-system-x86_64", "qemu-system-x86"}, {"nsenter", "util-linux"}, {"mount", "mount"}, {"find", "findutils"}}
	biosTools = []tool{{"/usr/share/seabios/bios-256k.bin", "seabios"}}
	uefiTools = []tool{{ovmfCode, "ovmf"}, {ovmfVars, "ovmf"}}
	lossTools = []tool{{"nft", "nftables"}}
)

// need returns an error for every tool that is missing, wrapping fs.ErrNotExist; nil when all are there.
func need(tools []tool) error {
	var errs []error
	for _, t := range tools {
		var err error
		if t.name[0] == '/' {
			_, err = os.Stat(t.name)
		} else {
			_, err = exec.LookPath(t.name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rack: needs %s: install the Debian package %s, or run make setup: %w", t.name, t.pkg, fs.ErrNotExist))
		}
	}
	return errors.Join(errs...)
}

// needRoot returns an error that wraps fs.ErrPermission unless uid is root's.
func needRoot(uid int) error {
	if uid != 0 {
		return fmt.Errorf("rack: needs root to make network namespaces: run it with sudo: %w", fs.ErrPermission)
	}
	return nil
}

// needTun says in a sentence what is wrong with the device behind every tap interface.
func needTun(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("rack: needs %s for the machines' network: load the kernel module tun (modprobe tun): %w", path, err)
	}
	return f.Close()
}
