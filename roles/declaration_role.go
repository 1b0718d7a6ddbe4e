package roles

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"muster/images"
)

func (h *Health) validate(fault reporter) {
	if h == nil {
		return
	}
	var ports []int
	kind := func(set bool, port int) {
		if set {
			ports = append(ports, port)
		}
	}
	// A field of a check that is not set is not looked at.
	kind(h.HTTP != nil, cmp.Or(at(h.HTTP).Port, 80))
	kind(h.TCP != nil, at(h.TCP).Port)
	kind(h.NTP != nil, cmp.Or(at(h.NTP).Port, 123))
	kind(h.SMTP != nil, cmp.Or(at(h.SMTP).Port, 25))
	kind(h.IMAP != nil, cmp.Or(at(h.IMAP).Port, 143))
	kind(h.DNS != nil, cmp.Or(at(h.DNS).Port, 53))
	if len(ports) != 1 {
		fault("health", "wants exactly one of http, tcp, ntp, smtp, imap and dns")
	}
	for _, p := range ports {
		if p < 1 || p > 65535 {
			fault("health", "port %d is not between 1 and 65535", p)
		}
	}
	if h.Interval < 0 || h.Timeout < 0 || h.Failures < 0 {
		fault("health", "interval, timeout and failures cannot be negative")
	}
	if h.DNS != nil {
		h.DNS.validate(fault)
	}
}

// at is what p points to, or nothing set.
func at[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// questions are the record types that a check may ask for.
var questions = []string{"A", "AAAA", "NS", "SOA", "MX", "TXT"}

func (c DNSCheck) validate(fault reporter) {
	if c.Type != "" && !slices.Contains(questions, c.Type) {
		fault("health.dns.type", "%q is not known (want %s)", c.Type, strings.Join(questions, ", "))
	}
	if n := strings.TrimSuffix(c.Name, "."); n != "" && (len(n) > 253 || !recordNameRE.MatchString(n)) {
		fault("health.dns.name", "%q is not a DNS name", c.Name)
	}
}

// sources are the words before the colon of Recipe.From; true for those of a path on the boot server.
var sources = map[string]bool{"oci": false, "oci-layout": true, "tar": true, "dir": true, "iso": true}

func validateRecipe(r images.Recipe, fault reporter) {
	if k := r.Kernel; k != "" && k != "full" && k != "cloud" {
		fault("build", "kernel %q is not known (want full or cloud)", k)
	}
	if r.From != "" {
		word, what, _ := strings.Cut(r.From, ":")
		local, ok := sources[word]
		switch {
		case !ok || what == "":
			fault("build.from", "%q is not known (want oci:REFERENCE, oci-layout:DIR[:TAG], tar:FILE, dir:DIR or iso:FILE)", r.From)
		case local && !path.IsAbs(what):
			fault("build.from", "%q is not an absolute path: the boot server reads it", what)
		}
	}
	for i, line := range r.Sources {
		if kind, rest, _ := strings.Cut(line, " "); (kind != "deb" && kind != "deb-src") || strings.TrimSpace(rest) == "" || strings.ContainsAny(line, "\n\r") {
			fault(fmt.Sprintf("build.sources[%d]", i), "%q is not a line of sources.list (want the form: deb https://deb.example/debian bookworm main)", line)
		}
	}
	for i, k := range r.Keys {
		if !path.IsAbs(k) {
			fault(fmt.Sprintf("build.keys[%d]", i), "%q is not an absolute path: the boot server reads it", k)
		}
	}
	if r.Epoch < 0 {
		fault("build.epoch", "%d is before 1970 (want seconds since then)", r.Epoch)
	}
	for i, h := range r.Hooks {
		if strings.TrimSpace(h) == "" {
			fault(fmt.Sprintf("build.hooks[%d]", i), "is empty")
		}
	}
}
