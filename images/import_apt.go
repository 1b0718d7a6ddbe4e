package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// install adds the packages that the recipe names and those that every image has, where the recipe asks for
// any: those that the root has not.
//
// This machine's own apt fetches and unpacks (its DPkg::Chroot-Directory), as mmdebstrap does it: so the packages
// come by this machine's mirrors and proxies, and what the root has in its apt.conf, which may say to run
// anything, is not read. The packages' scripts run in the root, in namespaces of their own, as root: who imports
// from a stranger and adds packages runs the stranger's programs.
func (r *imported) install(ctx context.Context) error {
	if !r.asked {
		return nil
	}
	if !r.hasApt() {
		if len(r.recipe.Packages) == 0 {
			return nil // it may have all that it needs
		}
		return fmt.Errorf("the packages %s cannot be added, because %s has no apt: put them there where the root is made: %w",
			strings.Join(r.recipe.Packages, ", "), r.recipe.From, fs.ErrInvalid)
	}
	lines, err := r.aptLines()
	if err != nil {
		return err
	}
	wanted, err := r.wanted()
	if err != nil || len(wanted) == 0 {
		return err
	}
	return r.apt(ctx, lines, wanted)
}

// wanted are the packages that are not there yet.
func (r *imported) wanted() ([]string, error) {
	have, err := installedPackages(r.tree)
	if err != nil {
		return nil, err
	}
	recipe := r.recipe
	recipe.Kernel = cmp.Or(recipe.Kernel, KernelFull)
	lines := r.sources.lines
	if r.os.id != "debian" {
		lines = nil // firmware has other names there
	}
	all := recipe.packages(lines)
	if i := slices.IndexFunc(all, func(p string) bool { return strings.HasPrefix(p, "linux-image-") }); i >= 0 {
		all[i] = r.kernelPackage()
	}
	keep := r.recipe.Kernel == "" && len(kernels(r.tree)) > 0
	return slices.DeleteFunc(all, func(p string) bool {
		own := slices.Contains(r.recipe.Packages, p)
		return have[p] || keep && !own && (strings.HasPrefix(p, "linux-image-") || slices.Contains(nonFreePackages, p))
	}), nil
}

// aptLines gives the package sources: for Debian those that every build has, in the root's own suite; for its
// relatives the root's own.
func (r *imported) aptLines() ([]string, error) {
	if r.os.id == "debian" {
		recipe := r.recipe
		recipe.Suite = cmp.Or(r.os.codename, recipe.Suite)
		etc := r.Etc
		if etc == nil {
			etc = os.DirFS("/etc")
		}
		var err error
		if r.sources, err = newFeed(etc, recipe, r.dir); err != nil {
			return nil, err
		}
		// The image gets these sources; with the container's own, apt would complain of each twice.
		err = removeAll(r.tree, []string{"etc/apt/sources.list.d/debian.sources"})
		return r.sources.lines, err
	}
	root, err := os.OpenRoot(r.tree)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	etc, err := fs.Sub(root.FS(), "etc")
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	var lines []string
	for _, s := range hostSources(etc) {
		line := s.line()
		if filepath.IsAbs(s.signedBy) {
			line = withKeys(line, []string{filepath.Join(r.tree, s.signedBy)})
		}
		lines = append(lines, line)
	}
	lines = append(lines, r.sources.lines[len(r.sources.lines)-len(r.recipe.Sources):]...)
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s (%s) has no package sources in /etc/apt: name some in the recipe's sources: %w", r.recipe.From, cmp.Or(r.os.name, "an unknown system"), fs.ErrInvalid)
	}
	return lines, nil
}

// aptScript updates the lists of the sources and installs packages, its arguments behind the root. The mounts are
// those of a hook.
const aptScript = `
apt-get update
exec apt-get --yes install "$@"
`

// noServices keeps packages from starting their services in the root.
const noServices = "#!/bin/sh\nexit 101\n"

// apt installs packages from the sources.
func (r *imported) apt(ctx context.Context, lines, packages []string) (err error) {
	dir := filepath.Join(r.dir, "apt")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archives := filepath.Join(r.tree, "var/cache/apt/archives")
	for _, d := range []string{filepath.Join(archives, "partial"), filepath.Join(dir, "state/lists/partial"), filepath.Join(dir, "cache"), filepath.Join(dir, "log")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	conf := filepath.Join(dir, "apt.conf")
	if err := os.WriteFile(conf, []byte(r.aptConf(dir, archives)), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	done, err := r.holdServices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()

	mounts, _, _ := strings.Cut(enterRoot, "exec chroot")
	link := "find " + quote(r.archives()) + " -maxdepth 1 -name '*.deb' -exec sh -c " + quote(linkDebs) + " " + quote(archives) + " '{}' + || true\n"
	cmd := exec.Command("/bin/sh", append([]string{"-c", link + mounts + "shift\ncd /" + aptScript, "sh", r.tree}, packages...)...)
	cmd.Env = append(append(hostEnv(), "APT_CONFIG="+conf, "SYSTEMD_OFFLINE=1"), scriptEnv(r.recipe.Epoch)...)
	return r.runApt(ctx, cmd, packages)
}

// runApt runs it and makes one sentence of what went wrong.
func (r *imported) runApt(ctx context.Context, cmd *exec.Cmd, packages []string) error {
	r.progress.enter(StageDownload, "adding "+strings.Join(packages, ", "))
	fmt.Fprintf(r.log, "I: muster: adding %s to %s\n", strings.Join(packages, ", "), cmp.Or(r.os.name, r.recipe.From))
	var f faults
	out := &lineWriter{w: r.log, fn: func(line string) {
		if r.progress.stage == StageDownload && dpkgLine.MatchString(line) {
			r.progress.enter(StagePackages, "installing packages")
		}
		r.progress.line(line)
		f.line(line)
	}}
	cmd.Stdout, cmd.Stderr = out, out
	err := r.confined(ctx, cmd, false)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if said := cmp.Or(strings.Join(f.reasons, "; "), strings.Join(out.errs, "; ")); said != "" && !f.noSpace {
		return fmt.Errorf("adding packages: %w (apt: %w)", errors.New(said), err)
	}
	return fmt.Errorf("adding packages: %w", f.explain(out.errs, err))
}

// aptConf is apt's whole configuration: nothing of the root's, and of this machine's only how to reach the
// sources.
func (r *imported) aptConf(dir, archives string) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s %q;\n", key, value) }
	set("APT::Architecture", "amd64")
	set("APT::Architectures", "amd64")
	set("APT::Install-Recommends", "false")
	set("APT::Sandbox::User", "root") // apt's own user cannot read a build's directory
	set("Acquire::Languages", "none")
	set("Acquire::Retries", fmt.Sprint(tries-1))
	set("Acquire::http::Timeout", fmt.Sprintf("%.0f", max(1, cmp.Or(r.Patience, patienceDefault).Seconds())))
	set("Dir::Etc::Main", "/dev/null")
	set("Dir::Etc::Parts", "/dev/null")
	set("Dir::Etc::Preferences", "/dev/null")
	set("Dir::Etc::PreferencesParts", "/dev/null")
	set("Dir::Etc::SourceList", filepath.Join(dir, "sources.list"))
	set("Dir::Etc::SourceParts", "/dev/null")
	set("Dir::State", filepath.Join(dir, "state"))
	set("Dir::State::status", filepath.Join(r.tree, "var/lib/dpkg/status"))
	set("Dir::Cache", filepath.Join(dir, "cache"))
	set("Dir::Cache::archives", archives)
	set("Dir::Log", filepath.Join(dir, "log"))
	set("DPkg::Chroot-Directory", r.tree)
	set("DPkg::Use-Pty", "false")
	for _, o := range []string{"--force-unsafe-io", "--force-confdef", "--force-confold"} {
		fmt.Fprintf(&b, "DPkg::Options:: %q;\n", o)
	}
	for _, o := range hostAptOptions() {
		b.WriteString(o + ";\n")
	}
	return b.String()
}

// holdServices puts policy-rc.d into the root, unless it has one, and gives what removes it again.
func (r *imported) holdServices() (func() error, error) {
	root, err := os.OpenRoot(r.tree)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	const name = "usr/sbin/policy-rc.d"
	if _, err := root.Lstat(name); err == nil {
		return root.Close, nil
	}
	if err := root.MkdirAll("usr/sbin", 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("images: %w", err), root.Close())
	}
	if err := root.WriteFile(name, []byte(noServices), 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("images: %w", err), root.Close())
	}
	return func() error { return errors.Join(root.Remove(name), root.Close()) }, nil
}
