package images

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Ref names an image version: web:7. Version 0 means the current one ("web").
type Ref struct {
	Name    string
	Version int
}

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidName reports whether s may name an image (a DNS label).
func ValidName(s string) bool { return nameRE.MatchString(s) }

// ParseRef reads "web" or "web:7".
func ParseRef(s string) (Ref, error) {
	name, v, has := strings.Cut(s, ":")
	if !nameRE.MatchString(name) {
		return Ref{}, fmt.Errorf("images: %q is not an image (want name or name:version)", s)
	}
	if !has {
		return Ref{Name: name}, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return Ref{}, fmt.Errorf("images: %q is not an image (the version is a number from 1)", s)
	}
	return Ref{name, n}, nil
}

// String is the form that ParseRef reads.
func (r Ref) String() string {
	if r.Version == 0 {
		return r.Name
	}
	return r.Name + ":" + strconv.Itoa(r.Version)
}

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(b []byte) error {
	v, err := ParseRef(string(b))
	*r = v
	return err
}

// Image describes one published version. It is what image.json in the version's directory holds.
type Image struct {
	Ref Ref `json:"ref"`
	// Digest is "sha256:…" over the manifest, which covers every file's metadata and content.
	Digest string `json:"digest"`
	// Kernel is the release of its kernel, as uname -r prints it: 6.1.0-39-cloud-amd64.
	Kernel string `json:"kernel"`
	// Arch is the processor it runs on: x86_64.
	Arch string `json:"arch"`
	// Flavour is full or cloud.
	Flavour string `json:"flavour"`
	// Size is the sum of the tree's file sizes in bytes; Files the number of paths.
	Size  int64 `json:"size"`
	Files int   `json:"files"`
	// KernelSize and InitrdSize in bytes.
	KernelSize int64 `json:"kernelSize"`
	InitrdSize int64 `json:"initrdSize"`
	// Squashfs is the size of its root.squashfs in bytes, which a node with its root in RAM loads; 0 while
	// it has none (see Catalog.Pack).
	Squashfs int64 `json:"squashfs,omitempty"`
	// From is what it was imported from, "oci:docker.io/library/debian@sha256:…"; empty for a built one.
	From string `json:"from,omitempty"`
	// Signed says that its digest carries this server's signature. Derived, not stored.
	Signed bool `json:"signed"`
	// Built is when it was published.
	Built time.Time `json:"built"`
	// Current says that it is what "name" without a version means. Derived, not stored.
	Current bool `json:"current"`
	// Dir is the version's directory on the boot server. Derived, not stored.
	Dir string `json:"-"`
}

// File names inside a version's directory.
const (
	KernelFile   = "vmlinuz"
	InitrdFile   = "initrd.img"
	TreeDir      = "tree"
	ManifestFile = "manifest"
	ImageFile    = "image.json"
	// SignatureFile holds the Ed25519 signature over name, version and digest.
	SignatureFile = "signature"
	// SquashfsFile is the root for nodes that hold it in RAM, and SealFile what they verify it with while
	// it streams. See Seal.
	SquashfsFile = "root.squashfs"
	SealFile     = "root.seal"
)

// Recipe says how an image is built.
type Recipe struct {
	// From makes the image of something that exists, instead of Debian's packages: oci:REFERENCE (a
	// registry), oci-layout:DIR[:TAG], tar:FILE, dir:DIR or iso:FILE. Empty means Debian. Packages and
	// Kernel then add what is missing, where the root has apt.
	From string `yaml:"from,omitempty" json:"from,omitempty"`
	// Packages are Debian packages on top of Debian's minimal system with systemd.
	Packages []string `yaml:"packages,omitempty" json:"packages,omitempty"`
	// Services are the units to enable; a unit that is already enabled is no error.
	Services []string `yaml:"services,omitempty" json:"services,omitempty"`
	// Kernel is the flavour: full (every NIC; the default) or cloud (virtual NICs only, small).
	Kernel string `yaml:"kernel,omitempty" json:"kernel,omitempty"`
	// Suite is the Debian suite; empty means bookworm.
	Suite string `yaml:"suite,omitempty" json:"suite,omitempty"`
	// Mirror is the package source; empty means the build host's own sources.
	Mirror string `yaml:"mirror,omitempty" json:"mirror,omitempty"`
	// Sources are more package sources, as lines of sources.list ("deb https://… bookworm main"). Keys are
	// files on the boot server with the OpenPGP keys that sign them, armored or not; they are trusted for
	// these sources only, and a line that names its own ("signed-by=FILE") has that one alone.
	Sources []string `yaml:"sources,omitempty" json:"sources,omitempty"`
	Keys    []string `yaml:"keys,omitempty" json:"keys,omitempty"`
	// Hooks are scripts for /bin/sh -e that run in the root, as root, after packages and overlay are there, in
	// order. They have no network: what they would fetch is not among the inputs of the image, and it could
	// not be built again. Packages come from Sources.
	Hooks []string `yaml:"hooks,omitempty" json:"hooks,omitempty"`
	// Epoch is the image's time, in seconds since 1970, as SOURCE_DATE_EPOCH: no file in it is newer, and the
	// programs that heed it see it. Zero means the date of its newest package: equal inputs give equal images.
	Epoch int64 `yaml:"epoch,omitempty" json:"epoch,omitempty"`
	// Overlay is a directory on the boot server whose tree is copied over the root; empty means the
	// role's own in the library.
	Overlay string `yaml:"overlay,omitempty" json:"overlay,omitempty"`
}
