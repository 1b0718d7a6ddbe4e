package rack

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// enter runs in the command's directory outside the rack and takes it along: nsenter would otherwise start
// the program in a directory that its mount namespace does not know.
const enter = `net=$1; mnt=$2; shift 2; exec nsenter --net="$net" --mount="$mnt" --wdns="$(pwd -P)" -- "$@"`

// Command prepares a program that runs inside the rack: in its network, with the /run that the rack's programs
// share and no other process sees. It is killed when this process dies, when ctx ends, and by Close. It has a process
// group of its own, so that Ctrl-C in a terminal reaches only the caller. The process id is the program's.
// Change Env by appending to it.
func (r *Rack) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, lookErr := exec.LookPath(name)
	if lookErr != nil {
		path = name
	}
	argv := append([]string{"-c", enter, "muster-rack-enter", nsPath(r.holder.net), nsPath(r.holder.mnt), path}, args...)
	cmd := exec.CommandContext(ctx, "/bin/sh", argv...)
	cmd.Err = lookErr
	cmd.Env = append(os.Environ(), rackEnv+"="+r.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}
