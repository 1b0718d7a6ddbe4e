package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// markKey is that of the rack's own secret, which keys the revisions of files. It is not listed.
const markKey = "rack/files"

// Secrets lists what was made or set, without values, by key.
func (r *Registry) Secrets() (out []Secret, err error) {
	err = r.Store.View(func(tx Tx) error {
		for s := range tx.Secrets().All() {
			if s.Key != markKey {
				out = append(out, s.shown())
			}
		}
		return nil
	})
	return out, err
}

// makeSecrets makes those secrets of a slot that there are none of, in one transaction: of two nodes that boot
// at the same time, the second gets the pool's secret that the first one made.
func (r *Registry) makeSecrets(ctx context.Context, slot, image string) error {
	now := r.now()
	var made []string
	err := r.Store.Update(ctx, func(tx Tx) error {
		made = nil
		w, err := r.workIn(tx, slot, image)
		if err != nil {
			return err
		}
		if len(w.mark) == 0 {
			if err := tx.Secrets().Put(Secret{Key: markKey, Kind: SecretKey, Value: random(32), Made: now}); err != nil {
				return err
			}
		}
		for _, spec := range w.missing() {
			s, err := r.mint(tx, spec, spec.key(w.data.Pool.Name, slot), image, now)
			if err != nil {
				return err
			}
			if err := tx.Secrets().Put(s); err != nil {
				return err
			}
			made = append(made, s.Key)
		}
		return nil
	})
	if err == nil && len(made) > 0 {
		r.log().Info("secrets made", "node", slot, "secrets", made)
	}
	return err
}

// mint makes a new secret for key. What an operator gave is not replaced by it.
func (r *Registry) mint(tx Tx, spec SecretSpec, key, image string, now time.Time) (Secret, error) {
	if old, ok := tx.Secrets().Get(key); ok && old.Given && !spec.fits(old) {
		return Secret{}, fmt.Errorf("roles: secret %s was set as %s, and the role declares %s: set it anew, or rotate it: %w", key, old.Kind, spec.kind(), fs.ErrInvalid)
	}
	return r.make(tx, spec, key, image, now)
}

// namesFor gives the names of the certificate of key; none for another kind. Those of a pool are its first
// slot's, whichever asks first.
func (r *Registry) namesFor(tx Tx, spec SecretSpec, key, image string) ([]string, error) {
	if spec.kind() != SecretTLS {
		return nil, nil
	}
	scope, slot, _, _ := splitKey(key)
	if scope == scopePool {
		for s := range tx.SlotsOf(slot) {
			slot = s.Name
			break
		}
	}
	w, err := r.workIn(tx, slot, image)
	if err != nil {
		return nil, err
	}
	names, err := spec.names(w.data, w.pool)
	if err != nil {
		return nil, fmt.Errorf("roles: secret %s of role %s: %w", spec.Name, w.role.Name, err)
	}
	return names, nil
}

func (r *Registry) make(tx Tx, spec SecretSpec, key, image string, now time.Time) (Secret, error) {
	names, err := r.namesFor(tx, spec, key, image)
	if err != nil {
		return Secret{}, err
	}
	_, owner, _, _ := splitKey(key)
	s := Secret{Key: key, Kind: spec.kind(), Made: now}
	switch s.Kind {
	case SecretKey:
		s.Value = newKey(cmp.Or(spec.Length, 32))
	case SecretSSH:
		s.Value, s.Public, err = newSSHKey(owner)
	case SecretTLS:
		s.Value, s.Public, err = newCertificate(names, now)
	default:
		s.Value = newPassword(cmp.Or(spec.Length, 24))
	}
	return s, err
}

// declaredSecret finds the declaration of the secret that key names.
func (r *Registry) declaredSecret(tx Tx, key string) (SecretSpec, error) {
	scope, owner, name, ok := splitKey(key)
	if !ok {
		return SecretSpec{}, fmt.Errorf("roles: %q is not a secret's key (want pool/POOL/NAME or slot/SLOT/NAME): %w", key, fs.ErrNotExist)
	}
	pool := owner
	if scope == scopeSlot {
		s, ok := tx.Slots().Get(owner)
		if !ok {
			return SecretSpec{}, fmt.Errorf("roles: slot %q does not exist: %w", owner, fs.ErrNotExist)
		}
		pool = s.Pool
	}
	p, ok := tx.Pools().Get(pool)
	if !ok {
		return SecretSpec{}, fmt.Errorf("roles: pool %q does not exist (there are: %s): %w", pool, names(tx), fs.ErrNotExist)
	}
	role, err := r.effective(tx, p.Role)
	if err != nil {
		return SecretSpec{}, err
	}
	i := slices.IndexFunc(role.Secrets, func(s SecretSpec) bool { return s.Name == name && s.scope() == scope })
	if i < 0 {
		var have []string
		for _, s := range role.Secrets {
			have = append(have, s.scope()+" "+s.Name)
		}
		return SecretSpec{}, fmt.Errorf("roles: role %s declares no secret %q of a %s (it declares: %s): %w",
			role.Name, name, scope, cmp.Or(strings.Join(have, ", "), "none"), fs.ErrNotExist)
	}
	return role.Secrets[i], nil
}

// SetSecret stores an operator's own value: a certificate with its key, a TSIG key. The error wraps
// fs.ErrNotExist where no role of that pool or slot declares it, and fs.ErrInvalid for a value that is not of
// its kind. Nodes get it at their next boot or sync.
func (r *Registry) SetSecret(ctx context.Context, key string, value []byte) (Secret, error) {
	now := r.now()
	var s Secret
	var warnings []string
	err := r.Store.Update(ctx, func(tx Tx) error {
		warnings = nil
		spec, err := r.declaredSecret(tx, key)
		if err != nil {
			return err
		}
		s = Secret{Key: key, Kind: spec.kind(), Made: now, Given: true}
		names, err := r.namesFor(tx, spec, key, "")
		if err != nil {
			warnings = append(warnings, err.Error()) // an operator's certificate may be the way out
		}
		var more []string
		s.Value, s.Public, more, err = spec.read(value, names, now)
		if warnings = append(warnings, more...); err != nil {
			return fmt.Errorf("roles: secret %s: %w: %w", key, err, fs.ErrInvalid)
		}
		return tx.Secrets().Put(s)
	})
	if err != nil {
		return Secret{}, err
	}
	r.log().Info("secret set", "secret", key)
	for _, w := range warnings {
		r.log().Warn("secret set", "secret", key, "err", w)
	}
	return s.shown(), nil
}

// RotateSecret makes a new value, also in place of one that an operator set. Nodes get it at their next boot or
// sync. The error wraps fs.ErrNotExist where no role of that pool or slot declares it.
func (r *Registry) RotateSecret(ctx context.Context, key string) (Secret, error) {
	now := r.now()
	var s Secret
	err := r.Store.Update(ctx, func(tx Tx) error {
		spec, err := r.declaredSecret(tx, key)
		if err != nil {
			return err
		}
		if s, err = r.make(tx, spec, key, "", now); err != nil {
			return err
		}
		return tx.Secrets().Put(s)
	})
	if err != nil {
		return Secret{}, err
	}
	r.log().Info("secret rotated", "secret", key)
	return s.shown(), nil
}

// forgetSecrets deletes the secrets of a pool and of all slots that it ever had.
func forgetSecrets(tx Tx, pool string) error {
	for s := range tx.Secrets().All() {
		if s.poolOf() != pool {
			continue
		}
		if err := tx.Secrets().Delete(s.Key); err != nil {
			return err
		}
	}
	return nil
}
