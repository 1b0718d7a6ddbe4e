package roles

import (
	"fmt"
	"net/netip"
)

// File is a file that a node gets when it boots.
type File struct {
	// Path is absolute and clean.
	Path string `yaml:"path" json:"path"`
	// Mode is the permission bits, written in octal: 0640. Zero means 0644, or 0600 for a file with a secret.
	Mode FileMode `yaml:"mode,omitempty" json:"mode,omitzero"`
	// Owner is user:group, by the names of the image; empty means root:root.
	Owner string `yaml:"owner,omitempty" json:"owner,omitempty"`
	// Content is a Go template over FileData. A field or variable that does not exist is an error when the
	// role or pool is applied.
	Content string `yaml:"content" json:"content"`
	// Reload are the units that are reloaded (or restarted, where they cannot) when the file changes in a
	// running node.
	Reload []string `yaml:"reload,omitempty" json:"reload,omitempty"`
}

// FileData is what the template of a File sees. Besides the fields there are the functions secret "NAME" and
// public "NAME", which give the value and the public half of a secret of the role, quote VALUE, join SEP LIST,
// lower TEXT, default VALUE-IF-EMPTY VALUE and indent SPACES TEXT. The last argument may come by a pipe.
type FileData struct {
	// Name is the slot's, which is the hostname: web-03. Number is 3; FQDN has the domain.
	Name   string
	Number int
	FQDN   string
	// Address is the slot's; Network, Router, DNS and Domain are those of its subnet, Server is the boot
	// server there.
	Address netip.Addr
	Network netip.Prefix
	Router  netip.Addr
	DNS     []netip.Addr
	Domain  string
	Server  netip.Addr
	// Role and Image ("web:7") are what it runs.
	Role, Image string
	// Pool is the node's own; Pools are all of the rack, by name.
	Pool  PoolData
	Pools map[string]PoolData
	// Peers are the other slots of the pool.
	Peers []Member
	// Vars are the role's, with the pool's over them.
	Vars map[string]any
}

// PoolData is a pool in a template.
type PoolData struct {
	Name, Role string
	// Members are all slots by number, occupied or not: their addresses are theirs in any case.
	Members []Member
	// Pair is the storage pair's; nil in a pool that is none.
	Pair *PairSpec
}

// Member is one slot in a template.
type Member struct {
	Name, FQDN string
	Number     int
	Address    netip.Addr
}

// NodeFile is a file as a node gets it.
type NodeFile struct {
	Path    string
	Mode    FileMode
	Owner   string
	Content []byte `json:"-"`
	Reload  []string
	// Secret says that a secret is in it: it goes only to who redeemed the boot's token.
	Secret bool
}

// NodeFiles are the files of one slot.
type NodeFiles struct {
	Files []NodeFile
	// Revision is the same for the same files, in every process and at every time.
	Revision string
}

// String is what may be shown: a log gets no content by accident.
func (f NodeFile) String() string {
	secret := ""
	if f.Secret {
		secret = ", secret"
	}
	return fmt.Sprintf("%s (%s, %d bytes%s)", f.Path, f.Mode, len(f.Content), secret)
}

// GoString implements fmt.GoStringer.
func (f NodeFile) GoString() string { return f.String() }
