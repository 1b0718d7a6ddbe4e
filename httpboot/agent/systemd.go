package agent

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Systemd is the Units of a system that systemd runs.
type Systemd struct{}

// reloadTime is how long one unit may take: systemd's own patience with a start and a stop.
const reloadTime = 3 * time.Minute

// Reload implements Units.
func (Systemd) Reload(ctx context.Context, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	return systemctl(ctx, "try-reload-or-restart", "--", unit)
}

// Restart implements Units.
func (Systemd) Restart(ctx context.Context) error { return systemctl(ctx, "reboot") }

// Reset implements Units.
func (Systemd) Reset() error {
	within(syncTime, unix.Sync)
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// systemctl runs a command, and gives what it says as the error.
func systemctl(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("systemctl %s: no end in time", args[0])
	}
	if text := strings.Join(strings.Fields(string(out)), " "); text != "" {
		return fmt.Errorf("systemctl %s: %s", args[0], text[:min(len(text), 300)])
	}
	return fmt.Errorf("systemctl %s: %w", args[0], err)
}
