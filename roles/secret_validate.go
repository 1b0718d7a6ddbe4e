package roles

import "fmt"

// lengths are the least and the most that a password (letters) or key (bytes) has.
const (
	passwordMin, passwordMax = 8, 256
	keyMin, keyMax           = 8, 512
)

func validateSecrets(secrets []SecretSpec, fault reporter) {
	seen := map[string]bool{}
	for i, s := range secrets {
		add := func(field, format string, args ...any) {
			fault(fmt.Sprintf("secrets[%d].%s", i, field), format, args...)
		}
		if !labelRE.MatchString(s.Name) {
			add("name", "%q is not a DNS label", s.Name)
		} else if seen[s.Name] {
			add("name", "%s is declared twice", s.Name)
		}
		seen[s.Name] = true
		if s.scope() != scopeSlot && s.scope() != scopePool {
			add("scope", "%q is not known (want slot or pool)", s.Scope)
		}
		s.validate(add)
	}
}

func (s SecretSpec) validate(fault reporter) {
	least, most := 0, 0
	switch s.kind() {
	case SecretPassword:
		least, most = passwordMin, passwordMax
	case SecretKey:
		least, most = keyMin, keyMax
	case SecretSSH, SecretTLS:
	default:
		fault("kind", "%q is not known (want password, key, ssh or tls)", s.Kind)
		return
	}
	switch {
	case s.Length == 0:
	case most == 0:
		fault("length", "is not for kind %s", s.kind())
	case s.Length < least || s.Length > most:
		fault("length", "%d is not between %d and %d", s.Length, least, most)
	}
	if len(s.Names) > 0 && s.kind() != SecretTLS {
		fault("names", "are for kind tls only, not %s", s.kind())
	}
	for i, n := range s.Names {
		if _, err := parseTemplate(n, nil); err != nil {
			fault(fmt.Sprintf("names[%d]", i), "%q: %s", n, err)
		}
	}
}
