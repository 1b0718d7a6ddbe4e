package images

import (
	"cmp"
	"os"
	"os/exec"
	"strconv"
)

// Limits bound what the programs of a build (apt, dpkg, packages' scripts, hooks) take from a machine that
// serves boots at the same time. Where systemd runs, a build is a scope of its own (systemd-run --scope) with
// these limits; elsewhere its programs have nice 10 and the lowest I/O priority, and no bound on memory.
type Limits struct {
	// Memory is the most memory in bytes, page cache aside; zero means 2 GiB, negative no limit.
	Memory int64
	// CPUWeight and IOWeight are shares of a busy machine, 1–10000, of which every other service has 100;
	// zero means 30.
	CPUWeight, IOWeight int
}

const (
	// memoryDefault is some six times what apt and dpkg need for the whole of Debian.
	memoryDefault = 2 << 30
	// weightDefault leaves three quarters of a busy machine to what serves boots.
	weightDefault = 30
)

// systemdRuns is the directory that tells that systemd is the init of this machine: sd_booted(3).
const systemdRuns = "/run/systemd/system"

// scope is the command line before that of a build's program, where systemd runs.
func (l Limits) scope(unit string) []string {
	args := []string{
		"systemd-run", "--scope", "--quiet", "--collect", "--unit=" + unit, "--description=Muster builds an image",
		"-p", "CPUWeight=" + strconv.Itoa(cmp.Or(l.CPUWeight, weightDefault)),
		"-p", "IOWeight=" + strconv.Itoa(cmp.Or(l.IOWeight, weightDefault)),
	}
	if l.Memory >= 0 {
		args = append(args, "-p", "MemoryMax="+strconv.FormatInt(cmp.Or(l.Memory, memoryDefault), 10))
	}
	return append(args, "--")
}

// humble is the same where it does not. What is not installed is left out.
func humble() []string {
	var args []string
	for _, words := range [][]string{{"nice", "-n", "10"}, {"ionice", "-c", "2", "-n", "7"}} {
		if _, err := exec.LookPath(words[0]); err == nil {
			args = append(args, words...)
		}
	}
	return args
}

// hasSystemd reports whether scopes can be made here.
func hasSystemd(dir string) bool {
	_, err := os.Stat(dir)
	if err == nil {
		_, err = exec.LookPath("systemd-run")
	}
	return err == nil
}
