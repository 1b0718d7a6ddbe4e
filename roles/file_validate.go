package roles

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// fileCountMax bounds the files of a role: a tree belongs into the image.
const fileCountMax = 500

var (
	// accountRE is the name of a user or group (useradd(8)), unitRE that of a unit (systemd.unit(5)).
	accountRE = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.-]{0,31}$`)
	unitRE    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9:_.\\@-]{0,254}$`)
	// varRE is what can stand behind .Vars in a template.
	varRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// sealed are directories that are not the image's: what is written there is gone, or breaks the node.
var sealed = []string{"/proc", "/sys", "/dev", "/run/muster"}

func validateFiles(files []File, fault reporter) {
	if len(files) > fileCountMax {
		fault("files", "%d are too many (at most %d); put a tree into the image", len(files), fileCountMax)
		return
	}
	seen := map[string]bool{}
	for i, f := range files {
		at := func(field string) string { return fmt.Sprintf("files[%d].%s", i, field) }
		if text := f.misplaced(); text != "" {
			fault(at("path"), "%s", text)
		} else if seen[f.Path] {
			fault(at("path"), "%s is declared twice", f.Path)
		}
		seen[f.Path] = true
		if user, group, ok := strings.Cut(f.Owner, ":"); f.Owner != "" && (!ok || !accountRE.MatchString(user) || !accountRE.MatchString(group)) {
			fault(at("owner"), "%q is not an owner (want user:group, by name)", f.Owner)
		}
		if f.Mode > 0o7777 {
			fault(at("mode"), "%s is not a file mode", f.Mode)
		}
		for _, u := range f.Reload {
			if !unitRE.MatchString(u) {
				fault(at("reload"), "%q is not the name of a unit", u)
			}
		}
		for _, err := range f.faults() {
			fault(at("content"), "%s: %s", f.Path, err)
		}
	}
	for i, f := range files {
		if dir, ok := below(f.Path, seen); ok {
			fault(fmt.Sprintf("files[%d].path", i), "%s cannot be a file: %s is below it", dir, f.Path)
		}
	}
}

// faults is what can be seen of the file's template without a rack.
func (f File) faults() []error {
	t, err := parseTemplate(f.Content, nil)
	if err != nil {
		return []error{err}
	}
	return t.faults()
}

// misplaced says why a file cannot be where it is to be; "" where it can.
func (f File) misplaced() string {
	p := f.Path
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return fmt.Sprintf("%q is not a clean absolute path", p)
	}
	if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(p) > 1024 {
		return fmt.Sprintf("%.60q has control characters, or is too long", p)
	}
	for _, dir := range sealed {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return fmt.Sprintf("%s is in %s, which is not for files", p, dir)
		}
	}
	return ""
}

// below gives the one of files that p would be in, if it were a directory.
func below(p string, files map[string]bool) (string, bool) {
	for dir := path.Dir(p); len(dir) > 1; dir = path.Dir(dir) {
		if files[dir] {
			return dir, true
		}
	}
	return "", false
}

// mountedOn gives the file of a role whose path is that of a mount; "" for none.
func (r Role) mountedOn() string {
	for _, f := range r.Files {
		over := slices.ContainsFunc(r.Volumes, func(v VolumeMount) bool { return v.Mount == f.Path || strings.HasPrefix(v.Mount, f.Path+"/") })
		if over || slices.ContainsFunc(r.State, func(s string) bool { return s == f.Path || strings.HasPrefix(s, f.Path+"/") }) {
			return f.Path
		}
	}
	return ""
}

func (v Vars) validate(fault reporter) {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		field := "vars." + name
		if !varRE.MatchString(name) {
			fault(field, "%q cannot be a variable (want letters, digits and _): a template says .Vars.name", name)
			continue
		}
		if _, err := plainValue(v[name]); err != nil {
			fault(field, "%s", err)
		}
	}
}
