package rack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Accel says how a machine executes its instructions.
type Accel string

// The accelerators.
const (
	// AccelAuto is KVM where a probe shows that it boots a guest, else TCG.
	AccelAuto Accel = "auto"
	// AccelKVM uses the processor; it is an error where KVM does not work.
	AccelKVM Accel = "kvm"
	// AccelTCG emulates, slowly, and works everywhere.
	AccelTCG Accel = "tcg"
)

// probeWait bounds the probe of KVM. A working one takes a tenth of a second.
const probeWait = 10 * time.Second

// probe is what the first probe of this process found: it belongs to the machine, not to a rack.
var probe struct {
	sync.Mutex
	done bool
	err  error
}

// resolve turns AccelAuto into what works and refuses a KVM that does not.
func (a Accel) resolve(ctx context.Context) (Accel, error) {
	if a == AccelTCG {
		return a, nil
	}
	err := probeKVM(ctx)
	if ctx.Err() != nil {
		return "", fmt.Errorf("rack: probe KVM: %w", ctx.Err())
	}
	if err == nil {
		return AccelKVM, nil
	}
	if a == AccelKVM {
		return "", fmt.Errorf("rack: KVM does not work here (use tcg or auto): %w", err)
	}
	return AccelTCG, nil
}

// probeKVM starts a guest and waits for its firmware to speak: a /dev/kvm that can be opened proves little,
// since inside another virtual machine it often cannot run one.
func probeKVM(ctx context.Context) error {
	probe.Lock()
	defer probe.Unlock()
	if probe.done {
		return probe.err
	}
	err := bootKVM(ctx, "/dev/kvm")
	if ctx.Err() == nil {
		probe.done, probe.err = true, err
	}
	return err
}

func bootKVM(ctx context.Context, device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	dir, err := os.MkdirTemp("", "muster-kvm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sercon := filepath.Join(dir, "sercon")
	if err := os.WriteFile(sercon, serconPort, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	// A QEMU that cannot use KVM may abort: its core dump helps nobody.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `ulimit -c 0; exec qemu-system-x86_64 "$@"`, "muster-kvm-probe",
		"-accel", "kvm", "-cpu", "host", "-smp", "2", "-m", "64", "-nodefaults", "-display", "none", "-vga", "none",
		"-fw_cfg", "name=etc/sercon-port,file="+sercon, "-serial", "stdio")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	spoke := await(stdout, "SeaBIOS")
	cancel()
	cmd.Wait()
	if !spoke {
		return errors.Join(errors.New("a test guest did not start"), lastLine(stderr.Bytes()))
	}
	return nil
}

// await reads until text appears; false when the stream ends before.
func await(r io.Reader, text string) bool {
	var seen []byte
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		seen = append(seen, buf[:n]...)
		if bytes.Contains(seen, []byte(text)) {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// lastLine makes an error of the last line that a program wrote; nil when it wrote nothing.
func lastLine(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil
	}
	return errors.New(string(b[bytes.LastIndexByte(b, '\n')+1:]))
}
