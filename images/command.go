package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// isolated runs a command in a PID and a mount namespace of its own, and kills all of it when ctx ends or
// this process dies. A process group would not do: dpkg runs in a session of its own, and what a package's
// script left in the background would live on. The mounts of a build end with its namespace.
//
// Only root may do this.
func isolated(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID,
		// Unshared by the child, so that its mounts are private: on most hosts / is shared.
		Unshareflags: syscall.CLONE_NEWNS,
		Setpgid:      true,
		Pdeathsig:    syscall.SIGKILL,
	}
	// The pipe to our log closes with the last process; it must not hold up a kill.
	cmd.WaitDelay = 10 * time.Second
	done := make(chan error, 1)
	// The goroutine ends with the command. It keeps its thread: the kernel sends Pdeathsig when the thread
	// that started the child ends, not the process.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		stop()
		done <- err
	}()
	err := <-done
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// debstrap is one run of mmdebstrap.
type debstrap struct {
	program  string // mmdebstrap
	tree     string // the directory to make
	cache    string // of packages, from build to build
	suite    string
	packages []string
	sources  []string
}

// dropped are paths that no node reads; licences stay.
var dropped = []string{
	"/usr/share/man/*", "/usr/share/info/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/lintian/*",
	"/usr/share/bug/*",
}

// command is the command line. --variant=minbase is Debian's essential packages and apt: small enough, and
// a technician on a node can install a tool for the moment.
func (d debstrap) command() *exec.Cmd {
	args := []string{
		"--mode=root", "--format=directory", "--variant=minbase", "--verbose",
		"--include=" + strings.Join(d.packages, ","),
		"--aptopt=APT::Install-Recommends \"false\"",
		"--aptopt=Acquire::Languages \"none\"",
		"--aptopt=Acquire::Retries \"3\"",
		// The tree is published after a sync of the whole file system; fsync per file only costs.
		"--dpkgopt=force-unsafe-io",
		"--skip=essential/unlink,cleanup/apt/cache",
		// Links instead of copies where cache and tree share a file system; apt checks what it finds.
		"--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" && { cp -n -l " + quote(d.cache) + "/*.deb \"$1/var/cache/apt/archives/\" 2>/dev/null || cp -n " +
			quote(d.cache) + "/*.deb \"$1/var/cache/apt/archives/\" 2>/dev/null || true; }",
	}
	for _, o := range hostAptOptions() {
		args = append(args, "--aptopt="+o)
	}
	for _, p := range dropped {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright", d.suite, d.tree)
	cmd := exec.Command(d.program, append(args, d.sources...)...)
	cmd.Env = append(os.Environ(),
		"LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive",
		// Muster makes the initrd itself; Debian's hook heeds this.
		"INITRD=No",
	)
	return cmd
}

// hostAptOptions are the host's settings for reaching its package sources: proxies, and the checks that a
// frozen mirror needs off.
func hostAptOptions() []string {
	out, err := exec.Command("apt-config", "dump").Output()
	if err != nil {
		return nil
	}
	var opts []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ";")
		key, _, _ := strings.Cut(line, " ")
		k := strings.ToLower(key)
		if strings.HasPrefix(k, "acquire::check-") || strings.HasPrefix(k, "acquire::http") && strings.Contains(k, "proxy") && !strings.Contains(k, "auto-detect") && !strings.Contains(k, "autodetect") {
			opts = append(opts, line)
		}
	}
	return opts
}

// quote makes s one word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// keepPackages moves the packages of a finished tree into the cache.
func keepPackages(tree, cache string) error {
	debs, err := filepath.Glob(filepath.Join(tree, "var/cache/apt/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		err := os.Rename(deb, filepath.Join(cache, filepath.Base(deb)))
		if err == nil || errors.Is(err, syscall.EXDEV) {
			// Renaming a link to what is in the cache already leaves both names (rename(2)). And a cache on
			// another file system is not worth a copy that can be torn.
			err = os.Remove(deb)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("images: %w", err)
		}
	}
	return nil
}
