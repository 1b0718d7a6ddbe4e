package roles

import (
	"time"

	"muster/images"
)

// RootMode says where a node's root file system lives.
type RootMode string

// The root modes.
const (
	// RootNFS mounts the image's tree read-only over NFS, with an overlay in RAM on top. The default.
	RootNFS RootMode = "nfs"
	// RootRAM holds the image's squashfs in RAM, with an overlay on top.
	RootRAM RootMode = "ram"
)

// Role is what a node does: image, root mode, kernel arguments, volumes and health check.
// Built-in roles come from roles/library; a declared role of the same name overrides field by field:
// a field that is empty in the declaration keeps the library's value.
type Role struct {
	// Name is unique, a DNS label.
	Name string `yaml:"name" json:"name"`
	// Description is one line for people.
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Image is the name of the image, without a version; empty means the role's name.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Root is the root mode; empty means nfs.
	Root RootMode `yaml:"root,omitempty" json:"root,omitempty"`
	// Cmdline is appended to the kernel command line.
	Cmdline string `yaml:"cmdline,omitempty" json:"cmdline,omitempty"`
	// Volumes are persistent directories that every node of the role mounts and shares.
	Volumes []VolumeMount `yaml:"volumes,omitempty" json:"volumes,omitempty"`
	// State lists directories that belong to the slot: they persist and move with it to a replacement.
	State []string `yaml:"state,omitempty" json:"state,omitempty"`
	// Vars are values for the role's files; a pool's override them one by one. They are listed and exported:
	// what nobody may see is a secret.
	Vars Vars `yaml:"vars,omitempty" json:"vars,omitempty"`
	// Files are written into a node when it boots, rendered for its slot. A declared role's files replace
	// the library's of the same path and add to the others.
	Files []File `yaml:"files,omitempty" json:"files,omitempty"`
	// Secrets are made once, kept by the boot server, and reach a node only in its files.
	Secrets []SecretSpec `yaml:"secrets,omitempty" json:"secrets,omitempty"`
	// Health says how a node of this role shows that it works; nil means that reaching the end of the
	// boot is enough.
	Health *Health `yaml:"health,omitempty" json:"health,omitempty"`
	// Recipe says how the role's image is built.
	Recipe images.Recipe `yaml:"build,omitempty" json:"build,omitzero"`
}

// ImageName is the image that the role boots.
func (r Role) ImageName() string {
	if r.Image == "" {
		return r.Name
	}
	return r.Image
}

// VolumeMount is one volume in a role.
type VolumeMount struct {
	// Name of the volume, a DNS label, shared by every role that names it.
	Name string `yaml:"name" json:"name"`
	// Mount is the absolute path in the node.
	Mount string `yaml:"mount" json:"mount"`
	// ReadOnly mounts it so.
	ReadOnly bool `yaml:"readonly,omitempty" json:"readonly,omitempty"`
	// Coherent keeps nodes from caching names and attributes: what one changes, the others see at once. It is for
	// programs of several nodes that work on the same files, which read and replace them under locks: a node that
	// opens, by a cached name, the file that another one has replaced takes old contents for new. Each look at a
	// file asks the storage. False means nfs(5)'s caches: another node's change may be seen a minute late.
	Coherent bool `yaml:"coherent,omitempty" json:"coherent,omitempty"`
	// RootSquash makes the nodes' root nobody on the volume, where a storage pair has it (the boot server's own export
	// has all volumes in one, and does not). False lets root be root: what it owns there, as mail's list of users, is
	// read by services that begin as root, and a volume is filled by people who are root on a node.
	RootSquash bool `yaml:"rootSquash,omitempty" json:"rootSquash,omitempty"`
}

// Health is a role's check. Exactly one kind is set.
type Health struct {
	HTTP *HTTPCheck `yaml:"http,omitempty" json:"http,omitempty"`
	TCP  *TCPCheck  `yaml:"tcp,omitempty" json:"tcp,omitempty"`
	NTP  *NTPCheck  `yaml:"ntp,omitempty" json:"ntp,omitempty"`
	SMTP *SMTPCheck `yaml:"smtp,omitempty" json:"smtp,omitempty"`
	IMAP *IMAPCheck `yaml:"imap,omitempty" json:"imap,omitempty"`
	DNS  *DNSCheck  `yaml:"dns,omitempty" json:"dns,omitempty"`
	// Interval between two checks of a ready node; zero means 5 s.
	Interval Duration `yaml:"interval,omitempty" json:"interval,omitzero"`
	// Timeout of one check; zero means 3 s.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitzero"`
	// Failures in a row that turn a ready node into a failed one; zero means 3.
	Failures int `yaml:"failures,omitempty" json:"failures,omitempty"`
}

// HTTPCheck fetches a page; a status of 200–399 passes.
type HTTPCheck struct {
	// Port; zero means 80.
	Port int `yaml:"port,omitempty" json:"port,omitempty"`
	// Path; empty means "/".
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// Host is the Host header; empty means the node's address.
	Host string `yaml:"host,omitempty" json:"host,omitempty"`
}

// TCPCheck opens a connection to a port.
type TCPCheck struct {
	Port int `yaml:"port" json:"port"`
}

// NTPCheck asks for the time (RFC 5905 client mode); a server answer of stratum 1–15 passes.
type NTPCheck struct {
	// Port; zero means 123.
	Port int `yaml:"port,omitempty" json:"port,omitempty"`
}

// SMTPCheck connects, reads the greeting, says EHLO and QUIT (RFC 5321): a server that takes mail passes.
type SMTPCheck struct {
	// Port; zero means 25.
	Port int `yaml:"port,omitempty" json:"port,omitempty"`
}

// IMAPCheck connects, reads the greeting and says LOGOUT (RFC 9051).
type IMAPCheck struct {
	// Port; zero means 143.
	Port int `yaml:"port,omitempty" json:"port,omitempty"`
}

// DNSCheck asks one question over UDP; an answer with NOERROR or NXDOMAIN passes.
type DNSCheck struct {
	// Port; zero means 53.
	Port int `yaml:"port,omitempty" json:"port,omitempty"`
	// Name asked for; empty means the root, ".".
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Type of the record: A, AAAA, NS, SOA, MX, TXT; empty means SOA.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
}

// Duration is a time.Duration that is written as text ("30s") in YAML and JSON.
type Duration time.Duration

// Or gives d, or def where d is zero.
func (d Duration) Or(def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}

// String is time.Duration's.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}
