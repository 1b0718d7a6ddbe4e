package images

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// dpkgStatus is Debian's list of what is installed (deb-control(5) paragraphs).
const dpkgStatus = "var/lib/dpkg/status"

// diffPackages compares what is installed. A root without Debian's database has no packages.
func diffPackages(was, is Image) ([]PackageChange, error) {
	before, err := packagesOf(was)
	if err != nil {
		return nil, err
	}
	after, err := packagesOf(is)
	if err != nil {
		return nil, err
	}
	all := []PackageChange{}
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != after[name] {
			all = append(all, PackageChange{name, before[name], after[name]})
		}
	}
	return all, nil
}

// packagesOf gives the versions of an image's packages by their names. A package of another architecture than
// dpkg's own has it in the name: libc6:i386.
func packagesOf(img Image) (map[string]string, error) {
	root, err := os.OpenRoot(filepath.Join(img.Dir, TreeDir))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	f, err := root.Open(dpkgStatus)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	versions, err := readStatus(f)
	if err != nil {
		return nil, fmt.Errorf("images: %s: %s: %w", img.Ref, dpkgStatus, err)
	}
	return versions, nil
}

// debPackage is a paragraph of the database.
type debPackage struct{ name, arch, version, status string }

// readStatus reads the database.
func readStatus(r io.Reader) (map[string]string, error) {
	var all []debPackage
	var p debPackage
	native := ""
	end := func() {
		// "install ok installed", "hold ok unpacked"… What is not there has no files left.
		state := p.status[strings.LastIndexByte(p.status, ' ')+1:]
		if p.name != "" && p.version != "" && state != "not-installed" && state != "config-files" {
			all = append(all, p)
		}
		if p.name == "dpkg" {
			native = p.arch
		}
		p = debPackage{}
	}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if sc.Text() == "" {
			end()
		}
		p.field(sc.Text())
	}
	end()
	versions := map[string]string{}
	for _, p := range all {
		if native != "" && p.arch != native && p.arch != "all" {
			p.name += ":" + p.arch
		}
		versions[p.name] = p.version
	}
	return versions, sc.Err()
}

// field reads a line. Most are of no interest, and those that go on begin with a space.
func (p *debPackage) field(line string) {
	key, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch key {
	case "Package":
		p.name = value
	case "Architecture":
		p.arch = value
	case "Version":
		p.version = value
	case "Status":
		p.status = value
	}
}
