package images

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// enterRoot is a script that runs another one, $2, in the root $1: in the namespaces of its own process only,
// with what a program expects of /proc, /sys, /dev, /run and /tmp. Nothing of them stays in the image.
const enterRoot = `set -e
cd "$1"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir -m 1777 dev/shm run/lock
exec chroot . /bin/sh -e -c "$2"
`

// hookLines is how many of its last lines a hook's error tells.
const hookLines = 3

// hooks runs the recipe's own scripts in the root.
func (w *build) hooks(ctx context.Context, tree string) error {
	for i, script := range w.recipe.Hooks {
		first, _, _ := strings.Cut(strings.TrimSpace(script), "\n")
		w.progress.part(i, len(w.recipe.Hooks), fmt.Sprintf("hook %d of %d: %.60s", i+1, len(w.recipe.Hooks), first))
		fmt.Fprintf(w.log, "I: muster: hook %d: %q\n", i+1, script)
		var last lastLines
		out := &lineWriter{w: w.log, fn: last.add}
		cmd := exec.Command("/bin/sh", "-c", enterRoot, "sh", tree, script)
		cmd.Env = []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
			"DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1", "INITRD=No",
			fmt.Sprintf("SOURCE_DATE_EPOCH=%d", w.epoch), "MUSTER_IMAGE=" + w.img.Ref.Name,
		}
		cmd.Stdout, cmd.Stderr = out, out
		err := w.confined(ctx, cmd, true)
		last.add(string(out.rest))
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("hook %d of %d failed: %w", i+1, len(w.recipe.Hooks), err)
			if len(last) > 0 {
				err = fmt.Errorf("%w; its last words: %s", err, strings.Join(last, " / "))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lastLines keeps the last lines that are not blank.
type lastLines []string

func (l *lastLines) add(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	*l = append(*l, line)
	if len(*l) > hookLines {
		*l = (*l)[1:]
	}
}
