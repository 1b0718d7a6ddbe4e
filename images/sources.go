package images

import (
	"bufio"
	"io/fs"
	"net/url"
	"path"
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
// a third party's packages have no business in an image, and its key is not known there. A host without
// Debian's entries gets Debian's public servers.
func aptSources(etc fs.FS, suite, mirror string) []string {
	switch {
	case strings.HasPrefix(mirror, "deb "):
		return strings.Split(strings.TrimSpace(mirror), "\n")
	case mirror != "":
		return []string{source{uri: mirror, suite: suite, components: []string{"main"}}.line()}
	}
	var lines []string
	for _, s := range hostSources(etc) {
		if s.isDebian(suite) && !slices.Contains(lines, s.line()) {
			lines = append(lines, s.line())
		}
	}
	// Updates alone do not make a system.
	if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, " "+suite+" ") }) {
		return lines
	}
	return []string{
		"deb http://deb.debian.org/debian " + suite + " main",
		"deb http://deb.debian.org/debian-security " + suite + "-security main",
		"deb http://deb.debian.org/debian " + suite + "-updates main",
	}
}

// isDebian reports whether s is Debian's main archive, security or updates for suite. A private mirror
// counts, by the layout that all mirrors keep: the path ends in debian or debian-security.
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
	base := path.Base(path.Clean("/" + u.Path))
	return base == "debian" || base == "debian-security"
}

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
		if f := strings.Fields(rest); len(f) >= 3 {
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
