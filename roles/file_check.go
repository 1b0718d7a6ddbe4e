package roles

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"muster/images"
)

// checkFiles renders the files of the rack as it would be, for the first and the last slot of every pool, with
// secrets that are none: what does not work must be known before a machine needs it. A pool that is not changed
// is at fault only for what worked before.
func (a *applier) checkFiles(d Declaration) {
	changed := map[string]bool{}
	for _, c := range a.changes {
		if c.Kind != "node" && c.Action != "unchanged" {
			changed[c.Kind+" "+c.Name] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	for p := range a.tx.Pools().All() {
		role, err := a.effective(a.tx, p.Role)
		if err != nil {
			continue // said by check
		}
		if len(a.faults) > faultsMax {
			return
		}
		ofRole, ofPool := changed["role "+role.Name], changed["pool "+p.Name]
		for _, f := range a.sample(a.tx, p, role) {
			switch {
			case ofRole:
				a.faultOfRole(d, role, f)
			case ofPool:
				a.fault("pools", p.Name, "role", "%s of role %s: %s", f.what, role.Name, f.text())
			case !a.failedBefore(p.Name, f):
				a.fault("pools", p.Name, "", "%s of role %s would work no longer: %s", f.what, role.Name, f.text())
			}
		}
	}
	for _, r := range d.Roles {
		role, err := a.effective(a.tx, r.Name)
		if err != nil || !changed["role "+r.Name] {
			continue
		}
		for _, f := range role.misuses() {
			a.faultOfRole(d, role, f)
		}
		a.kinds(role)
	}
}

// faultsMax ends the search: each may have taken a loop without an end to find, and the store waits.
const faultsMax = 20

// flaw is what does not work about a role's files or secrets.
type flaw struct {
	list string // files or secrets
	name string // the path, or the secret's name
	what string // in a sentence
	slot string // for which it was tried; "" for any
	err  error
}

func (f flaw) text() string {
	if f.slot == "" {
		return f.err.Error()
	}
	return fmt.Sprintf("%s (for %s)", f.err, f.slot)
}

// faultOfRole is at the role's own line of what is wrong, where the declaration has it.
func (a *applier) faultOfRole(d Declaration, role Role, f flaw) {
	field := f.list
	for _, r := range d.Roles {
		if r.Name != role.Name {
			continue
		}
		if i := slices.IndexFunc(r.Files, func(file File) bool { return file.Path == f.name }); i >= 0 && f.list == "files" {
			field = fmt.Sprintf("files[%d].content", i)
		}
		if i := slices.IndexFunc(r.Secrets, func(s SecretSpec) bool { return s.Name == f.name }); i >= 0 && f.list == "secrets" {
			field = fmt.Sprintf("secrets[%d].names", i)
		}
	}
	text := f.what + ": " + f.text()
	if !slices.ContainsFunc(a.faults, func(err error) bool {
		// Of several pools with the same role, and of what is also seen without one, the first says it.
		old, ok := err.(*Fault)
		return ok && old.List == "roles" && old.Name == role.Name && strings.HasPrefix(old.Text, f.what+": "+f.err.Error())
	}) {
		a.fault("roles", role.Name, field, "%s", text)
	}
}

// sample tries what a role makes for the first and the last slot of a pool.
func (r *Registry) sample(tx Tx, p Pool, role Role) (out []flaw) {
	if p.Slots() < 1 || len(role.Files)+len(role.Secrets) == 0 {
		return nil
	}
	out = role.misuses()
	pools := slices.Collect(tx.Pools().All())
	for _, number := range slices.Compact([]int{1, p.Slots()}) {
		w := slotWork{pool: p, role: role, wired: true, secrets: placeholders(role), mark: []byte("sample")}
		w.data = dataOf(pools, p, role, number, r.imageOrSample(p, role), r.networkOrSample)
		for _, f := range w.flaws() {
			if !slices.ContainsFunc(out, func(o flaw) bool { return o.what == f.what }) {
				out = append(out, f)
			}
		}
	}
	return out
}

// flaws is everything that does not work for one slot.
func (w slotWork) flaws() (out []flaw) {
	sum := 0
	for _, f := range w.role.Files {
		n, err := w.file(f)
		if err != nil {
			out = append(out, flaw{"files", f.Path, "file " + f.Path, w.data.Name, w.scrub(err)})
		}
		sum += len(n.Content)
	}
	if sum > filesMax {
		err := fmt.Errorf("they are more than %d MiB together: put some into the image, or on a volume", filesMax>>20)
		out = append(out, flaw{"files", "", "the files", w.data.Name, err})
	}
	for _, s := range w.role.Secrets {
		if s.kind() != SecretTLS {
			continue
		}
		if _, err := s.names(w.data, w.pool); err != nil {
			out = append(out, flaw{"secrets", s.Name, "secret " + s.Name, w.data.Name, err})
		}
	}
	return out
}

// misuses is what can be seen of a role as it works, without a slot.
func (r Role) misuses() (out []flaw) {
	paths := map[string]bool{}
	for _, f := range r.Files {
		paths[f.Path] = true
	}
	for _, f := range r.Files {
		if dir, ok := below(f.Path, paths); ok {
			out = append(out, flaw{"files", dir, "file " + dir, "", fmt.Errorf("cannot be a file: %s is below it", f.Path)})
		}
		for _, err := range f.faults() {
			out = append(out, flaw{"files", f.Path, "file " + f.Path, "", err})
		}
		t, err := parseTemplate(f.Content, nil)
		if err != nil {
			continue
		}
		for name, line := range t.asks() {
			if !slices.ContainsFunc(r.Secrets, func(s SecretSpec) bool { return s.Name == name }) {
				out = append(out, flaw{"files", f.Path, "file " + f.Path, "", &templateError{line, undeclared(r, name).Error()}})
			}
		}
	}
	if f := r.mountedOn(); f != "" {
		out = append(out, flaw{"files", f, "file " + f, "", errors.New("cannot be a file: something is mounted there")})
	}
	slices.SortStableFunc(out, func(a, b flaw) int {
		return cmp.Or(strings.Compare(a.what, b.what), strings.Compare(a.text(), b.text()))
	})
	return out
}

// kinds looks for what an operator set, and the role does not declare so any more.
func (a *applier) kinds(role Role) {
	for s := range a.tx.Secrets().All() {
		scope, _, name, _ := splitKey(s.Key)
		p, ok := a.tx.Pools().Get(s.poolOf())
		if !s.Given || !ok || p.Role != role.Name {
			continue
		}
		for _, spec := range role.Secrets {
			if spec.Name == name && spec.scope() == scope && !spec.fits(s) {
				a.fault("roles", role.Name, "secrets", "%s is declared as %s, and an operator has set %s as %s: rotate that first, or use another name", name, spec.kind(), s.Key, s.Kind)
			}
		}
	}
}

// failedBefore reports whether what is wrong with a pool's files was so before this declaration.
func (a *applier) failedBefore(pool string, f flaw) (failed bool) {
	_ = a.Store.View(func(tx Tx) error {
		p, ok := tx.Pools().Get(pool)
		role, err := a.effective(tx, p.Role)
		if !ok || err != nil {
			return nil
		}
		failed = slices.ContainsFunc(a.sample(tx, p, role), func(o flaw) bool { return o.what == f.what })
		return nil
	})
	return failed
}

// imageOrSample is the image that p's nodes boot, or one that may be: it need not be built yet.
func (r *Registry) imageOrSample(p Pool, role Role) string {
	ref := images.Ref{Name: role.ImageName()}
	if pinned, err := images.ParseRef(p.Image); err == nil {
		ref = pinned
	}
	if img, err := r.Images.Find(ref); err == nil {
		ref = img.Ref
	}
	ref.Version = max(ref.Version, 1)
	return ref.String()
}

// networkAt is Network, which may be nil: then no address is served.
func (r *Registry) networkAt(a netip.Addr) (Network, bool) {
	if r.Network == nil {
		return Network{}, false
	}
	return r.Network(a)
}

// networkOrSample is Network, or one that may be: whether a pool's addresses are served is another question.
func (r *Registry) networkOrSample(a netip.Addr) (Network, bool) {
	if n, ok := r.networkAt(a); ok {
		return n, true
	}
	if !a.Is4() {
		return Network{}, false
	}
	p := netip.PrefixFrom(a, 24).Masked()
	server := p.Addr().Next()
	return Network{Prefix: p, Router: server, DNS: []netip.Addr{server}, Domain: "example.net", Server: server}, true
}

// placeholders have the form of the role's secrets.
func placeholders(role Role) map[string]Secret {
	out := map[string]Secret{}
	for _, s := range role.Secrets {
		v := Secret{Kind: s.kind()}
		switch s.kind() {
		case SecretKey:
			v.Value = []byte(base64.StdEncoding.EncodeToString(make([]byte, cmp.Or(s.Length, 32))))
		case SecretSSH:
			v.Value, v.Public = []byte(placeholder("OPENSSH PRIVATE KEY")), "ssh-ed25519 AAAA "+s.Name
		case SecretTLS:
			v.Public = placeholder("CERTIFICATE")
			v.Value = []byte(placeholder("PRIVATE KEY") + v.Public)
		default:
			v.Value = bytes.Repeat([]byte("x"), cmp.Or(s.Length, 24))
		}
		out[s.Name] = v
	}
	return out
}

func placeholder(what string) string {
	return "-----BEGIN " + what + "-----\nAAAA\n-----END " + what + "-----\n"
}
