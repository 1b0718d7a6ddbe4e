package images

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// isolated runs a command in namespaces of its own for processes, mounts and the host's name, and kills all of
// it when ctx ends or this process dies. A process group would not do: dpkg runs in a session of its own, and
// what a package's script left in the background would live on. The mounts of a build end with its namespace,
// and no package learns this host's name.
//
// Only root may do this.
func isolated(ctx context.Context, cmd *exec.Cmd) error { return run(ctx, named(cmd), isolation) }

// namespaces of a build, and the flags of unshare(1) for the same.
const isolation = syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS

var unshareFlags = []string{"unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts"}

// buildHost is the host's name during a build; packages write it into their configuration.
const buildHost = "localhost"

// named makes the command set the host's name before it begins.
func named(cmd *exec.Cmd) *exec.Cmd {
	return wrapped(cmd, "/bin/sh", "-c", "echo "+buildHost+` >/proc/sys/kernel/hostname && exec "$@"`, "sh")
}

// wrapped makes cmd an argument of another command, which runs it.
func wrapped(cmd *exec.Cmd, words ...string) *exec.Cmd {
	if len(words) == 0 {
		return cmd
	}
	args := append(slices.Clone(words), append([]string{cmd.Path}, cmd.Args[1:]...)...)
	outer := exec.Command(args[0], args[1:]...)
	outer.Env, outer.Dir, outer.Stdin, outer.Stdout, outer.Stderr = cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr
	return outer
}

// confined is isolated with the build's limits; offline leaves it no network, not even the loopback.
func (w *build) confined(ctx context.Context, cmd *exec.Cmd, offline bool) error {
	cmd = named(cmd)
	flags := uintptr(isolation)
	if offline {
		flags |= syscall.CLONE_NEWNET
	}
	if !hasSystemd(cmp.Or(w.booted, systemdRuns)) {
		return run(ctx, wrapped(cmd, humble()...), flags)
	}
	// systemd-run must see this machine's processes, so the namespaces are made inside the scope.
	unshare := unshareFlags
	if offline {
		unshare = append(slices.Clone(unshare), "--net")
	}
	unit := fmt.Sprintf("muster-build-%s-%d-%d", w.img.Ref.Name, os.Getpid(), time.Now().UnixNano())
	return run(ctx, wrapped(wrapped(cmd, append(unshare, "--")...), w.Limits.scope(unit)...), 0)
}

// run runs the command in new namespaces, if any, and waits for it.
func run(ctx context.Context, cmd *exec.Cmd, namespaces uintptr) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if namespaces != 0 {
		// Unshared by the child, so that its mounts are private: on most hosts / is shared.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
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
	patience time.Duration // with a silent package source; zero means patienceDefault
	epoch    int64         // SOURCE_DATE_EPOCH for packages' scripts; zero means scriptEpoch
}

// patienceDefault and tries are apt's own default and a little less than it: a mirror that hangs fails a
// build after two minutes.
const (
	patienceDefault = 30 * time.Second
	tries           = 3
)

// linkDebs is a script that brings the files of its arguments into the directory $0. Another build may remove
// one of them in the meantime: that is no failure.
const linkDebs = `cp -n -l -t "$0" "$@" 2>/dev/null || cp -n -p -t "$0" "$@" 2>/dev/null || true`

// command is the command line. --variant=minbase is Debian's essential packages and apt: small enough, and
// a technician on a node can install a tool for the moment.
func (d debstrap) command() *exec.Cmd {
	args := []string{
		"--mode=root", "--format=directory", "--variant=minbase", "--verbose",
		"--include=" + strings.Join(d.packages, ","),
		"--aptopt=APT::Install-Recommends \"false\"",
		"--aptopt=Acquire::Languages \"none\"",
		fmt.Sprintf("--aptopt=Acquire::Retries \"%d\"", tries-1),
		fmt.Sprintf("--aptopt=Acquire::http::Timeout \"%.0f\"", max(1, cmp.Or(d.patience, patienceDefault).Seconds())),
		// The tree is published after a sync of the whole file system; fsync per file only costs.
		"--dpkgopt=force-unsafe-io",
		// Sources name their keys; looking through the host's for them takes a second.
		"--skip=essential/unlink,cleanup/apt/cache,check/signed-by",
		// After the extraction of Debian's essential packages: before it, mmdebstrap would send each through a
		// filter of its own, which costs eight seconds of processor time. What they bring is removed later.
		"--extract-hook=printf %s " + quote(dpkgFilter()) + ` >"$1/` + filterFile + `"`,
		// Packages' scripts copy the host's name and domain into their configuration.
		"--essential-hook=echo " + buildHost + ` >"$1/etc/hostname"; echo 127.0.0.1 ` + buildHost + ` >"$1/etc/hosts"`,
		// Links instead of copies where cache and tree share a file system; apt checks what it finds.
		"--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" && find " + quote(d.cache) + " -maxdepth 1 -name '*.deb' -exec sh -c " +
			quote(linkDebs) + " \"$1/var/cache/apt/archives\" '{}' + || true",
	}
	for _, o := range hostAptOptions() {
		args = append(args, "--aptopt="+o)
	}
	args = append(args, d.suite, d.tree)
	cmd := exec.Command(d.program, append(args, d.sources...)...)
	cmd.Env = append(hostEnv(), scriptEnv(d.epoch)...)
	return cmd
}

// hostEnv is what of this process's environment a build may know: how to find programs, and how to reach the package
// sources. Anything more (a time zone, what systemd tells a service) would reach the packages' scripts, and the same
// inputs would give other images.
func hostEnv() (env []string) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch strings.ToLower(name) {
		case "path", "home", "tmpdir", "apt_config", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy":
			env = append(env, kv)
		}
	}
	return env
}

// scriptEnv is what packages' scripts run with. epoch is SOURCE_DATE_EPOCH in seconds; 0 means scriptEpoch. Muster makes
// the initrd itself; Debian's hook heeds INITRD.
func scriptEnv(epoch int64) []string {
	return []string{"LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "INITRD=No",
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", cmp.Or(epoch, scriptEpoch))}
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

// debootstrap runs mmdebstrap into tree.
func (w *build) debootstrap(ctx context.Context, tree string) error {
	if err := os.MkdirAll(w.archives(), 0o755); err != nil {
		return err
	}
	d := debstrap{
		program: w.program(), tree: tree, cache: w.archives(), suite: w.recipe.Suite,
		packages: w.recipe.packages(w.sources.lines), sources: w.sources.lines, patience: w.Patience, epoch: w.recipe.Epoch,
	}
	cmd := d.command()
	fmt.Fprintln(w.log, "I: muster:", withoutLogins(fmt.Sprintf("%q", cmd.Args)))
	var f faults
	out := &lineWriter{w: w.log, fn: func(line string) {
		w.progress.line(line)
		f.line(line)
	}}
	cmd.Stdout, cmd.Stderr = out, out
	err := w.confined(ctx, cmd, false)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return f.explain(out.errs, err)
}
