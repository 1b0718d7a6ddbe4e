package roles

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
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
	// Text says what is wrong and what is wanted.
	Text string
}

// Error implements error.
func (f *Fault) Error() string {
	where := strings.TrimSuffix(f.List, "s") + " " + f.Name
	if f.Field != "" {
		where += ": " + f.Field
	}
	return where + ": " + f.Text
}

var labelRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$`)

// Validate reports every fault of the declaration that can be seen without the rest of the rack.
func (d Declaration) Validate() []error {
	var out []error
	add := func(list, name, field, format string, args ...any) {
		out = append(out, &Fault{list, name, field, fmt.Sprintf(format, args...)})
	}
	seen := map[string]bool{}
	once := func(list, name string) {
		if seen[list+name] {
			add(list, name, "", "declared twice")
		}
		seen[list+name] = true
	}
	for _, r := range d.Roles {
		once("roles", r.Name)
		r.validate(func(field, format string, args ...any) { add("roles", r.Name, field, format, args...) })
	}
	for i, p := range d.Pools {
		once("pools", p.Name)
		p.validate(func(field, format string, args ...any) { add("pools", p.Name, field, format, args...) })
		for _, q := range d.Pools[:i] {
			if q.Name != p.Name && q.Addresses.Overlaps(p.Addresses) {
				add("pools", p.Name, "addresses", "%s overlaps with %s of pool %s", p.Addresses, q.Addresses, q.Name)
			}
		}
	}
	for _, n := range d.Nodes {
		once("nodes", n.MAC.String())
		if n.MAC.IsZero() {
			add("nodes", "", "mac", "is missing")
		}
		if n.Slot != "" && n.Pool == "" {
			add("nodes", n.MAC.String(), "slot", "needs a pool")
		}
		if n.Power != nil && n.Power.Driver == "" {
			add("nodes", n.MAC.String(), "power", "needs a driver")
		}
	}
	return out
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
	if r.Root == RootRAM {
		fault("root", "ram is not served yet (want nfs)")
	}
	if strings.ContainsAny(r.Cmdline, "\n\r") {
		fault("cmdline", "must be one line")
	}
	for _, v := range r.Volumes {
		if !labelRE.MatchString(v.Name) {
			fault("volumes", "%q is not a DNS label", v.Name)
		}
		if !mountable(v.Mount) {
			fault("volumes", "mount %q is not a clean absolute path below /", v.Mount)
		}
	}
	for _, s := range r.State {
		if !mountable(s) {
			fault("state", "%q is not a clean absolute path below /", s)
		}
	}
	r.Health.validate(fault)
	if k := r.Recipe.Kernel; k != "" && k != "full" && k != "cloud" {
		fault("build", "kernel %q is not known (want full or cloud)", k)
	}
}

func (h *Health) validate(fault reporter) {
	if h == nil {
		return
	}
	kinds, port := 0, 1
	if h.HTTP != nil {
		kinds, port = kinds+1, cmp.Or(h.HTTP.Port, 80)
	}
	if h.TCP != nil {
		kinds, port = kinds+1, h.TCP.Port
	}
	if h.NTP != nil {
		kinds, port = kinds+1, cmp.Or(h.NTP.Port, 123)
	}
	if kinds != 1 {
		fault("health", "wants exactly one of http, tcp and ntp")
	}
	if port < 1 || port > 65535 {
		fault("health", "port %d is not between 1 and 65535", port)
	}
	if h.Interval < 0 || h.Timeout < 0 || h.Failures < 0 {
		fault("health", "interval, timeout and failures cannot be negative")
	}
}

// mountable refuses what would hide the system under a mount.
func mountable(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" &&
		!slices.Contains([]string{"/proc", "/sys", "/dev", "/run", "/etc", "/usr"}, p)
}

func (p Pool) validate(fault reporter) {
	if !labelRE.MatchString(p.Name) {
		fault("name", "%q is not a DNS label (a-z, 0-9 and -)", p.Name)
	}
	if p.Role == "" {
		fault("role", "is missing")
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
	for _, err := range p.Match.validate() {
		fault("match", "%s", strings.TrimPrefix(err.Error(), "match: "))
	}
}

// Over gives base with every field that is set in r replaced by r's; what is inside of the recipe and the
// health check is compared field by field too.
func (r Role) Over(base Role) Role {
	override(reflect.ValueOf(&base).Elem(), reflect.ValueOf(r))
	return base
}

func override(dst, src reflect.Value) {
	for i := range src.NumField() {
		d, s := dst.Field(i), src.Field(i)
		switch {
		case s.IsZero():
		case s.Kind() == reflect.Struct:
			override(d, s)
		default:
			d.Set(s)
		}
	}
}
