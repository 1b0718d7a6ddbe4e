package httpboot

import (
	"fmt"
	"io/fs"
	"strings"
)

// Loader is a boot program other than iPXE, which reads by TFTP what to do.
type Loader int

const (
	// PXELinux reads pxelinux.cfg/01-MAC; the language is SYSLINUX's.
	PXELinux Loader = iota
	// GRUB reads grub/grub.cfg-01-MAC.
	GRUB
	// RaspberryPi is the ROM of a Raspberry Pi: its file is the kernel's command line alone, and it asks again by
	// itself when there is none.
	RaspberryPi
)

// Orders renders what sc says for a loader, as an iPXE script does for iPXE: m boots, waits, or starts from its disk.
// The kernel and the initrd come from where the loader has the file itself. again is the path of that file, for a
// machine that waits. The error wraps fs.ErrNotExist when there is nothing that the loader could be told.
func (l Loader) Orders(m Machine, sc Script, again string) ([]byte, error) {
	var cmd string
	if sc.Kind == Boot {
		line, err := cmdline(m, sc)
		if err != nil {
			return nil, err
		}
		// Each of them names the initrd in a way of its own.
		_, cmd, _ = strings.Cut(line, " ")
	}
	switch l {
	case PXELinux:
		return []byte(pxelinux(sc, cmd, again)), nil
	case GRUB:
		return []byte(grub(sc, cmd, again)), nil
	case RaspberryPi:
		if sc.Kind == Boot {
			return []byte(cmd + "\n"), nil
		}
	}
	return nil, fmt.Errorf("httpboot: nothing to boot: %w", fs.ErrNotExist)
}

// retryTime is how long a machine waits, in seconds.
func retryTime(sc Script) int { return max(5, int(sc.Retry.Seconds())) }

// pxelinux is a configuration of SYSLINUX. "::" begins a path at the root of TFTP; PROMPT makes TIMEOUT (tenths of a
// second) count.
func pxelinux(sc Script, cmd, again string) string {
	switch sc.Kind {
	case Boot:
		return fmt.Sprintf("SAY Muster: boots %s\nDEFAULT muster\nLABEL muster\nKERNEL ::%s\nINITRD ::%s\nAPPEND %s\n",
			safe(sc.Title), sc.Kernel, sc.Initrd, cmd)
	case Local:
		return fmt.Sprintf("SAY Muster: starts from its own disk %s\nDEFAULT muster\nLABEL muster\nLOCALBOOT 0\n", safe(sc.Message))
	}
	return fmt.Sprintf("SAY Muster: waits: %s\nPROMPT 1\nTIMEOUT %d\nDEFAULT muster\nLABEL muster\nCONFIG ::/%s\n",
		safe(sc.Message), 10*retryTime(sc), again)
}

// grub is a script of GRUB, whose words are quoted as a shell's.
func grub(sc Script, cmd, again string) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	switch sc.Kind {
	case Boot:
		var words []string
		for _, w := range strings.Fields(cmd) {
			words = append(words, quote(w))
		}
		return fmt.Sprintf("echo %s\nlinux %s %s\ninitrd %s\nboot\n",
			quote("Muster: boots "+safe(sc.Title)), quote(sc.Kernel), strings.Join(words, " "), quote(sc.Initrd))
	case Local:
		return fmt.Sprintf("echo %s\nexit\n", quote("Muster: starts from its own disk "+safe(sc.Message)))
	}
	return fmt.Sprintf("echo %s\nsleep %d\nconfigfile %s\n", quote("Muster: waits: "+safe(sc.Message)), retryTime(sc), quote("/"+again))
}
