package roles

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/template/parse"
)

// Files renders the files for the occupant of a slot, and makes the secrets that it has none of yet. The
// error says which file of which role does not work; it never has a secret in it.
func (r *Registry) Files(ctx context.Context, slot, image string) (NodeFiles, error) {
	w, err := r.work(slot, image)
	if err != nil {
		return NodeFiles{}, err
	}
	if !w.complete() {
		if err := r.makeSecrets(ctx, slot, image); err != nil {
			return NodeFiles{}, err
		}
		if w, err = r.work(slot, image); err != nil {
			return NodeFiles{}, err
		}
	}
	return w.files()
}

// work collects, in one look at the rack, what the files of a slot are made of.
func (r *Registry) work(slot, image string) (w slotWork, err error) {
	err = r.Store.View(func(tx Tx) error { w, err = r.workIn(tx, slot, image); return err })
	return w, err
}

// slotWork is what the files of one slot are made of.
type slotWork struct {
	data FileData
	pool Pool
	role Role
	// wired says that a network is served at the slot's address.
	wired   bool
	secrets map[string]Secret // by name; what is not made yet is not there
	// mark keys the revision where there are secrets; empty before the first one.
	mark []byte
}

func (r *Registry) workIn(tx Tx, slot, image string) (slotWork, error) {
	s, ok := tx.Slots().Get(slot)
	if !ok {
		return slotWork{}, fmt.Errorf("roles: slot %q does not exist: %w", slot, fs.ErrNotExist)
	}
	p, ok := tx.Pools().Get(s.Pool)
	if !ok {
		return slotWork{}, fmt.Errorf("roles: pool %s: %w", s.Pool, fs.ErrNotExist)
	}
	role, err := r.effective(tx, p.Role)
	if err != nil {
		return slotWork{}, err
	}
	w := slotWork{pool: p, role: role, secrets: map[string]Secret{}}
	w.data = dataOf(slices.Collect(tx.Pools().All()), p, role, s.Number, image, r.networkAt)
	w.wired = w.data.Network.IsValid()
	for _, spec := range role.Secrets {
		if secret, ok := tx.Secrets().Get(spec.key(p.Name, slot)); ok && spec.fits(secret) {
			w.secrets[spec.Name] = secret
		}
	}
	if mark, ok := tx.Secrets().Get(markKey); ok {
		w.mark = mark.Value
	}
	return w, nil
}

// complete reports whether every secret is there, and what keys the revision by them.
func (w slotWork) complete() bool {
	return len(w.role.Secrets) == 0 || len(w.mark) > 0 && len(w.missing()) == 0
}

// missing are the secrets of the role that are not made yet.
func (w slotWork) missing() (out []SecretSpec) {
	for _, spec := range w.role.Secrets {
		if _, ok := w.secrets[spec.Name]; !ok {
			out = append(out, spec)
		}
	}
	return out
}

// secret implements keyring.
func (w slotWork) secret(name string) (Secret, error) {
	if s, ok := w.secrets[name]; ok {
		return s, nil
	}
	return Secret{}, undeclared(w.role, name)
}

func undeclared(role Role, name string) error {
	var have []string
	for _, s := range role.Secrets {
		have = append(have, s.Name)
	}
	return fmt.Errorf("role %s declares no secret %q (it declares: %s)", role.Name, name, cmp.Or(strings.Join(have, ", "), "none"))
}

// files renders every file of the role, in the order of their paths.
func (w slotWork) files() (NodeFiles, error) {
	var out NodeFiles
	sum := 0
	for _, f := range w.role.Files {
		n, err := w.file(f)
		if err != nil {
			return NodeFiles{}, fmt.Errorf("roles: file %s of role %s, for %s: %w", f.Path, w.role.Name, w.data.Name, w.scrub(err))
		}
		if sum += len(n.Content); sum > filesMax {
			return NodeFiles{}, fmt.Errorf("roles: the files of role %s, for %s, are more than %d MiB together: put some into the image, or on a volume", w.role.Name, w.data.Name, filesMax>>20)
		}
		out.Files = append(out.Files, n)
	}
	slices.SortFunc(out.Files, func(a, b NodeFile) int { return strings.Compare(a.Path, b.Path) })
	out.Revision = w.revision(out.Files)
	return out, nil
}

func (w slotWork) file(f File) (NodeFile, error) {
	t, err := parseTemplate(f.Content, w)
	if err != nil {
		return NodeFile{}, err
	}
	if field := t.mentions(networkFields); field != "" && !w.wired {
		return NodeFile{}, fmt.Errorf("needs .%s, and this server serves no network with %s", field, w.data.Address)
	}
	content, secret, err := t.render(w.data)
	if err != nil {
		return NodeFile{}, err
	}
	return NodeFile{Path: f.Path, Mode: f.mode(secret), Owner: f.Owner, Content: content, Reload: f.Reload, Secret: secret}, nil
}

// mentions gives the first of fields that the template has anywhere; "" for none.
func (p parsed) mentions(fields []string) (found string) {
	look := func(idents []string) {
		for _, i := range idents {
			if found == "" && slices.Contains(fields, i) {
				found = i
			}
		}
	}
	for _, t := range p.Templates() {
		if t.Tree == nil {
			continue
		}
		inspect(t.Root, func(n parse.Node) {
			switch n := n.(type) {
			case *parse.FieldNode:
				look(n.Ident)
			case *parse.VariableNode:
				look(n.Ident)
			case *parse.ChainNode:
				look(n.Field)
			}
		})
	}
	return found
}

// scrub takes the values of secrets out of an error.
func (w slotWork) scrub(err error) error {
	text := err.Error()
	for _, s := range w.secrets {
		text = scrubbed(text, string(s.Value))
	}
	if text == err.Error() {
		return err
	}
	return fmt.Errorf("%s", text)
}

// scrubbed replaces value, and every line of it, in text. A line of a few letters is left: it is no secret,
// and would be found everywhere.
func scrubbed(text, value string) string {
	const short = 4
	for _, line := range append([]string{value}, strings.Split(value, "\n")...) {
		if len(line) >= short {
			text = strings.ReplaceAll(text, line, "[secret]")
		}
	}
	return text
}

// revision is a digest of files. Where a secret is in one it is keyed: a digest alone would let who reads it
// try passwords.
func (w slotWork) revision(files []NodeFile) string {
	h := sha256.New()
	if slices.ContainsFunc(files, func(f NodeFile) bool { return f.Secret }) {
		h = hmac.New(sha256.New, w.mark)
	}
	field := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(b))) // never fails: hash.Hash
		h.Write(b)
	}
	for _, f := range files {
		field([]byte(f.Path))
		field([]byte(f.Mode.String()))
		field([]byte(cmp.Or(f.Owner, "root:root")))
		field([]byte(strings.Join(f.Reload, "\n")))
		field(f.Content)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
