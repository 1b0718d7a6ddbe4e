package images

import (
	"bufio"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// sources.go finds the package sources of a build: sources.list(5), both its one-line and its deb822 style.

// source is one package source in one suite.
type source struct {
	uri, suite string
	components []string
	signedBy   string
}

// line is the one-line style. Signed-By is left out: mmdebstrap finds Debian's keyring itself.
func (s source) line() string {
	return "deb " + s.uri + " " + s.suite + " " + strings.Join(s.components, " ")
}

// aptSources gives the source lines for a build. mirror, when set, is a URL, or lines of sources.list that
// are taken as they are. Otherwise they are the host's (etc is its /etc), of which only Debian's own count:
// a third party's packages have no business in an image, and its key is not known there. Where the host is of
// another suite, its mirrors have this one as well. A host without Debian's entries gets Debian's public servers.
func aptSources(etc fs.FS, suite, mirror string) []string {
	switch {
	case strings.HasPrefix(mirror, "deb "):
		return strings.Split(strings.TrimSpace(mirror), "\n")
	case mirror != "":
		return []string{source{uri: mirror, suite: suite, components: []string{"main"}}.line()}
	}
	host := hostSources(etc)
	if lines := debianLines(host, suite, suite); lines != nil {
		return lines
	}
	for _, s := range host {
		if other := codename(s.suite); other != suite {
			if lines := debianLines(host, other, suite); lines != nil {
				return lines
			}
		}
	}
	return debianLines([]source{
		{uri: "http://deb.debian.org/debian", suite: suite, components: []string{"main"}},
		{uri: "http://deb.debian.org/debian-security", suite: suite + "-security", components: []string{"main"}},
		{uri: "http://deb.debian.org/debian", suite: suite + "-updates", components: []string{"main"}},
	}, suite, suite)
}

// rolling are suites without updates and security of their own.
var rolling = []string{"sid", "unstable", "experimental"}

// debianLines gives Debian's entries for the suite of, as lines for the suite want; nil when there is no main
// archive among them: updates alone do not make a system.
func debianLines(host []source, of, want string) []string {
	var lines []string
	whole := false
	for _, s := range host {
		if !s.isDebian(of) || slices.Contains(rolling, want) && s.suite != of {
			continue
		}
		whole = whole || s.suite == of
		s.suite = want + strings.TrimPrefix(s.suite, of)
		if !slices.Contains(lines, s.line()) {
			lines = append(lines, s.line())
		}
	}
	if !whole {
		return nil
	}
	return lines
}

// codename is the suite without what follows it: bookworm of bookworm-security.
func codename(suite string) string {
	name, _, _ := strings.Cut(suite, "-")
	return name
}

// isDebian reports whether s is Debian's main archive, security or updates for suite. A private mirror
// counts, by the layout that all mirrors keep: the path ends in debian or debian-security, with a moment in
// time behind it on a snapshot server.
func (s source) isDebian(suite string) bool {
	if s.suite != suite && s.suite != suite+"-updates" && s.suite != suite+"-security" {
		return false
	}
	if s.signedBy != "" && !strings.HasPrefix(path.Base(s.signedBy), "debian-archive") {
		return false
	}
	u, err := url.Parse(s.uri)
	if err != nil || !slices.Contains(s.components, "main") {
		return false
	}
	dir := path.Clean("/" + u.Path)
	if snapshotRE.MatchString(dir) {
		dir = path.Dir(dir)
	}
	return path.Base(dir) == "debian" || path.Base(dir) == "debian-security"
}

// snapshotRE matches the path of an archive as it was at a moment: archive/debian/20250520T000000Z.
var snapshotRE = regexp.MustCompile(`/\d{8}T\d{6}Z/?$`)

// hostSources reads every source of the host. Files that cannot be read are passed over.
func hostSources(etc fs.FS) []source {
	files := []string{"apt/sources.list"}
	for _, pattern := range []string{"apt/sources.list.d/*.list", "apt/sources.list.d/*.sources"} {
		more, _ := fs.Glob(etc, pattern)
		files = append(files, more...)
	}
	var all []source
	for _, name := range files {
		b, err := fs.ReadFile(etc, name)
		if err != nil {
			continue
		}
		if strings.HasSuffix(name, ".sources") {
			all = append(all, parseDeb822(string(b))...)
		} else {
			all = append(all, parseList(string(b))...)
		}
	}
	return resolveMirrors(etc, all)
}

// resolveMirrors replaces mirror+file:/etc/… by the mirrors in that file: Debian's cloud images have their
// sources that way.
func resolveMirrors(etc fs.FS, all []source) []source {
	var out []source
	for _, s := range all {
		_, file, is := strings.Cut(s.uri, "mirror+file:")
		if !is {
			out = append(out, s)
			continue
		}
		b, _ := fs.ReadFile(etc, strings.TrimPrefix(path.Clean(file), "/etc/"))
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
				s.uri = f[0]
				out = append(out, s)
				break // the others are fallbacks for the same packages
			}
		}
	}
	return out
}

// parseList reads the one-line style: deb [options] uri suite components.
func parseList(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, is := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !is {
			continue
		}
		var s source
		rest = strings.TrimSpace(rest)
		if options, after, has := strings.Cut(rest, "]"); has && strings.HasPrefix(rest, "[") {
			for _, o := range strings.Fields(options[1:]) {
				if v, is := strings.CutPrefix(o, "signed-by="); is {
					s.signedBy = v
				}
			}
			rest = after
		}
		// A suite that ends in a slash is a directory, without components.
		if f := strings.Fields(rest); len(f) >= 2 {
			s.uri, s.suite, s.components = f[0], f[1], f[2:]
			all = append(all, s)
		}
	}
	return all
}

// parseDeb822 reads the deb822 style: stanzas of fields, continued on indented lines.
func parseDeb822(text string) []source {
	var all []source
	fields := map[string]string{}
	flush := func() {
		types := strings.Fields(fields["types"])
		off := strings.EqualFold(fields["enabled"], "no") || strings.EqualFold(fields["enabled"], "false")
		if slices.Contains(types, "deb") && !off {
			for _, uri := range strings.Fields(fields["uris"]) {
				for _, suite := range strings.Fields(fields["suites"]) {
					all = append(all, source{uri, suite, strings.Fields(fields["components"]), fields["signed-by"]})
				}
			}
		}
		clear(fields)
	}
	last := ""
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + strings.TrimSpace(line)
		default:
			key, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(key))
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return all
}
