package roles

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"muster/images"
)

// Declaration is what should be: the roles, pools and nodes of a rack, as rack.yaml has them.
type Declaration struct {
	Roles []Role            `yaml:"roles,omitempty" json:"roles,omitempty"`
	Pools []Pool            `yaml:"pools,omitempty" json:"pools,omitempty"`
	Nodes []NodeDeclaration `yaml:"nodes,omitempty" json:"nodes,omitempty"`
}

// NodeDeclaration is what an operator says of one machine.
type NodeDeclaration struct {
	MAC MAC `yaml:"mac" json:"mac"`
	// Pool assigns the machine; empty leaves that to the pools' rules.
	Pool string `yaml:"pool,omitempty" json:"pool,omitempty"`
	// Slot is a slot of that pool; empty means any.
	Slot   string            `yaml:"slot,omitempty" json:"slot,omitempty"`
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
	Power  *Power            `yaml:"power,omitempty" json:"power,omitempty"`
}

// Fault is one thing that is wrong with a declaration, and where.
type Fault struct {
	// List is roles, pools or nodes; Name is the entry's name or MAC; Field may be empty.
	List, Name, Field string
	// Entry is the entry's place in its list, from 1; 0 where only its name is known.
	Entry int
	// Text says what is wrong and what is wanted.
	Text string
}

// Error implements error.
func (f *Fault) Error() string {
	where := strings.TrimSuffix(f.List, "s")
	if f.Name != "" {
		where += " " + f.Name
	}
	if f.Field != "" {
		where += ": " + f.Field
	}
	return where + ": " + f.Text
}

// Faults is everything that is wrong with a declaration. It wraps fs.ErrInvalid.
type Faults []error

// Error has one fault a line.
func (f Faults) Error() string { return errors.Join(f...).Error() }

// Unwrap implements the interface of package errors.
func (f Faults) Unwrap() []error { return append(slices.Clone(f), fs.ErrInvalid) }

var labelRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$`)

// Validate reports every fault of the declaration that can be seen without the rest of the rack.
func (d Declaration) Validate() []error {
	var out []error
	seen := map[string]int{}
	// at gives what reports the faults of one entry.
	at := func(list, name string, i int) reporter {
		add := func(field, format string, args ...any) {
			out = append(out, &Fault{list, name, field, i + 1, fmt.Sprintf(format, args...)})
		}
		if key := list + " " + name; name != "" {
			if seen[key]++; seen[key] > 1 {
				add("", "declared twice")
			}
		}
		return add
	}
	for i, r := range d.Roles {
		r.validate(at("roles", r.Name, i))
	}
	for i, p := range d.Pools {
		add := at("pools", p.Name, i)
		p.validate(add)
		for _, q := range d.Pools[:i] {
			if q.Name != p.Name && q.Addresses.Overlaps(p.Addresses) {
				add("addresses", "%s overlaps with %s of pool %s", p.Addresses, q.Addresses, q.Name)
			}
		}
	}
	for i, n := range d.Nodes {
		n.validate(at("nodes", n.name(), i))
	}
	return out
}

// name is the MAC; empty where it is missing.
func (n NodeDeclaration) name() string {
	if n.MAC.IsZero() {
		return ""
	}
	return n.MAC.String()
}

func (n NodeDeclaration) validate(fault reporter) {
	if n.MAC.IsZero() {
		fault("mac", "is missing")
	} else if n.MAC[0]&1 != 0 {
		fault("mac", "%s is a group's address, not a machine's", n.MAC)
	}
	if n.Slot != "" && n.Pool == "" {
		fault("slot", "needs a pool")
	}
	if n.Power != nil && n.Power.Driver == "" {
		fault("power", "needs a driver")
	}
}

type reporter func(field, format string, args ...any)

func (r Role) validate(fault reporter) {
	if !labelRE.MatchString(r.Name) {
		fault("name", "%q is not a DNS label (a-z, 0-9 and -)", r.Name)
	}
	if r.Image != "" && !images.ValidName(r.Image) {
		fault("image", "%q is not an image name (without a version; a pool pins one)", r.Image)
	}
	if r.Root != "" && r.Root != RootNFS && r.Root != RootRAM {
		fault("root", "%q is not known (want nfs or ram)", r.Root)
	}
	if strings.ContainsAny(r.Cmdline, "\n\r") {
		fault("cmdline", "must be one line")
	}
	mounts := map[string]bool{}
	mount := func(field, p string) {
		if !mountable(p) {
			fault(field, "%q is not a clean absolute path below /, or hides the system", p)
		} else if mounts[p] {
			fault(field, "%s is mounted twice", p)
		}
		mounts[p] = true
	}
	for _, v := range r.Volumes {
		if !labelRE.MatchString(v.Name) {
			fault("volumes", "%q is not a DNS label", v.Name)
		}
		mount("volumes", v.Mount)
	}
	for _, s := range r.State {
		mount("state", s)
	}
	r.Vars.validate(fault)
	validateFiles(r.Files, fault)
	if f := r.mountedOn(); f != "" {
		fault("files", "%s cannot be a file: something is mounted there", f)
	}
	validateSecrets(r.Secrets, fault)
	r.Health.validate(fault)
	validateRecipe(r.Recipe, fault)
}

// mountable refuses what would hide the system under a mount.
func mountable(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" &&
		!slices.Contains([]string{"/proc", "/sys", "/dev", "/run", "/etc", "/usr"}, p)
}

// slotsMax bounds a pool: a slip in a range of addresses must not fill the store.
const slotsMax = 10_000

func (p Pool) validate(fault reporter) {
	if !labelRE.MatchString(p.Name) {
		fault("name", "%q is not a DNS label (a-z, 0-9 and -)", p.Name)
	}
	if p.Role == "" {
		fault("role", "is missing")
	}
	if n := p.Slots(); n > slotsMax {
		fault("size", "%d slots are too many (at most %d); set max", n, slotsMax)
	} else if name := p.SlotName(n); labelRE.MatchString(p.Name) && len(name) > 63 {
		fault("name", "%s would be a hostname of more than 63 bytes", name)
	}
	if p.Addresses.Len() == 0 {
		fault("addresses", "is missing (want first-last)")
	} else if n := p.Slots(); n > p.Addresses.Len() {
		fault("size", "max is %d, but addresses %s are only %d", n, p.Addresses, p.Addresses.Len())
	}
	if p.Size.Min < 0 || p.Size.Max < 0 {
		fault("size", "min and max cannot be negative")
	} else if p.Size.Min > p.Slots() {
		fault("size", "min is %d, above the pool's %d slots", p.Size.Min, p.Slots())
	}
	if p.Image != "" {
		if _, err := images.ParseRef(p.Image); err != nil {
			fault("image", "%q is not an image (want name or name:version)", p.Image)
		}
	}
	if p.Takeover < 0 {
		fault("takeover", "cannot be negative")
	}
	p.Vars.validate(fault)
	p.validateStorage(fault)
	for _, err := range p.Match.validate() {
		fault("match", "%s", strings.TrimPrefix(err.Error(), "match: "))
	}
}
