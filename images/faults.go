package images

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// faults.go makes one sentence of what apt, dpkg and mmdebstrap say when they fail.

// faults collects the reasons from a program's output.
type faults struct {
	reasons []string
	unmet   bool // in the list of unmet dependencies
	noSpace bool
	broken  string // the package whose script failed, while its status is awaited
	last    string // the line before, unless it is dpkg's own
}

// reasonsMax bounds what an error tells; the log has all.
const reasonsMax = 4

// faultLines are what is known of the programs' words. In an explanation $1 and so on are what was matched.
var faultLines = []struct {
	re     *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^[EW]: (?:GPG error: (\S+) .*: )?The repository '(\S+) [^']*' is not signed`), "the package source $2 is not signed by a key that is known here: name the file with its key in keys"},
	{regexp.MustCompile(`^[EW]: The repository '(\S+) [^']*' does not have a Release file`), "$1 is no package source, or has not this suite: it has no Release file"},
	{regexp.MustCompile(`^E: Release file for (\S+) (?:is expired|is not valid yet)(.*)`), "the lists of $1 are out of date$2: is this machine's clock right? A snapshot needs [check-valid-until=no]"},
	{regexp.MustCompile(`^E: Unable to locate package (\S+)`), "the sources have no package $1 (Unable to locate package $1)"},
	{regexp.MustCompile(`^E: Package '(\S+)' has no installation candidate`), "the sources have no package $1"},
	{regexp.MustCompile(`^E: (Malformed entry .*|The list of sources could not be read.*|Type '.*' is not known.*)`), "a line of sources is wrong: $1"},
	{regexp.MustCompile(`(?i)cannot allocate memory|Killed process|oom-kill`), "the build ran out of memory"},
}

var (
	fetchRE   = regexp.MustCompile(`^[EW]: Failed to fetch (\S+)\s+(.*)`)
	statusRE  = regexp.MustCompile(`installed (\S+) package (\S+) script subprocess (.*)`)
	processRE = regexp.MustCompile(`^dpkg: error processing (?:package|archive) (\S+) \(--(\w+)\)`)
	unreachRE = regexp.MustCompile(`(?i)connect|timed out|timeout|resolve|unreachable|no route|reading from server|connection failed`)
)

// line reads one line.
func (f *faults) line(s string) {
	if strings.Contains(s, "No space left on device") {
		f.noSpace = true
	}
	switch {
	case f.unmet && strings.HasPrefix(s, " "):
		f.add(strings.Join(strings.Fields(s), " "))
		return
	case strings.HasPrefix(s, "The following packages have unmet dependencies"):
		f.unmet = true
		return
	}
	f.unmet = false
	if f.broken != "" {
		if m := statusRE.FindStringSubmatch(s); m != nil {
			f.add(fmt.Sprintf("the package %s cannot be installed: its %s script failed with %s%s", m[1], m[2], strings.TrimPrefix(m[3], "returned error "), f.said()))
		} else {
			f.add(fmt.Sprintf("the package %s cannot be installed: %s", f.broken, strings.TrimSpace(s)))
		}
		f.broken = ""
		return
	}
	before := f.last
	if !dpkgLine.MatchString(s) {
		f.last = s
	} else {
		f.last = ""
	}
	if m := processRE.FindStringSubmatch(s); m != nil {
		f.last = before
		f.broken = strings.TrimSuffix(path.Base(m[1]), ".deb")
		return
	}
	if m := fetchRE.FindStringSubmatch(s); m != nil {
		f.add(fetchFault(m[1], m[2]))
		return
	}
	for _, known := range faultLines {
		if m := known.re.FindStringSubmatchIndex(s); m != nil {
			f.add(string(known.re.ExpandString(nil, known.reason, s, m)))
			return
		}
	}
}

// said is what a script said at last.
func (f *faults) said() string {
	if last := strings.TrimSpace(f.last); last != "" {
		return fmt.Sprintf(" after it said %q", last)
	}
	return ""
}

// fetchFault says why a file did not come.
func fetchFault(address, why string) string {
	why = strings.TrimSpace(strings.TrimSuffix(why, "."))
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !unreachRE.MatchString(why) {
		return fmt.Sprintf("%s cannot be fetched: %s", address, why)
	}
	return fmt.Sprintf("the package source %s://%s does not answer: %s", u.Scheme, u.Host, why)
}

func (f *faults) add(reason string) {
	if !slices.Contains(f.reasons, reason) && len(f.reasons) < reasonsMax {
		f.reasons = append(f.reasons, reason)
	}
}

// explain makes the error of a program that failed with err, having said errs.
func (f *faults) explain(errs []string, err error) error {
	if f.noSpace {
		return fmt.Errorf("the disk is full: remove old versions or use a larger one: %w", unix.ENOSPC)
	}
	said := f.reasons
	if len(said) == 0 {
		said = errs
	}
	if len(said) == 0 {
		return fmt.Errorf("mmdebstrap: %w", err)
	}
	return fmt.Errorf("%w (mmdebstrap: %w)", errors.New(strings.Join(said, "; ")), err)
}
