package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// newRoleSite is a site with a pool of the library's role name: two slots from 10.77.0.40 on, for machines whose
// product is the role's name. The image is built when no test has had it yet. vars are YAML.
func newRoleSite(t *testing.T, name, vars string) *site {
	t.Helper()
	if os.Getuid() == 0 { // otherwise newSite skips the test
		declared := filepath.Join(work.dir, name+".yaml")
		write(t, declared, fmt.Sprintf("roles: [{name: %s, build: {kernel: cloud}}]\n", name))
		if err := buildImage(name, declared); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	declared := filepath.Join(s.dir, name+".yaml")
	write(t, declared, fmt.Sprintf(`roles: [{name: %[1]s, build: {kernel: cloud}}]
pools: [{name: %[1]s, role: %[1]s, size: {min: 2, max: 2}, addresses: 10.77.0.40-10.77.0.41, match: {product: [%[1]s]}, priority: 30, takeover: 1s, vars: %[2]s}]
`, name, vars))
	s.muster("apply", "-f", declared)
	return s
}

// roleMachine switches on a machine of the role's pool.
func (s *site) roleMachine(role, name string) *rack.Machine {
	s.t.Helper()
	return s.powerOn(rack.MachineSpec{Name: name, Firmware: rack.BIOS, Product: role})
}

// volume writes a file into a volume, as an operator does on the boot server.
func (s *site) volume(volume, name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "data/volumes", volume, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, path, text)
}

// outside runs a client's program in the rack.
func (s *site) outside(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	out, err := s.rack.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// until waits until a client gets what it wants: nodes see each other's changes of a volume after a while.
func (s *site) until(what string, fn func() error) {
	s.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: %v", what, err)
}

// untilSays waits until a program says want.
func (s *site) untilSays(want, name string, args ...string) {
	s.t.Helper()
	s.until(want, func() error {
		out, err := s.outside(name, args...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%s %s says %q, want %q", name, strings.Join(args, " "), out, want)
		}
		return err
	})
}

// certificate makes a key and a certificate for names, in the form of a secret, and gives the file and that of what
// a client trusts.
func (s *site) certificate(names ...string) (pem, trust string) {
	s.t.Helper()
	key, cert := filepath.Join(s.dir, "key.pem"), filepath.Join(s.dir, "cert.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN="+names[0], "-addext", "subjectAltName=DNS:"+strings.Join(names, ",DNS:"), "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		s.t.Fatalf("openssl: %v\n%s", err, out)
	}
	pem = filepath.Join(s.dir, "tls.pem")
	a, _ := os.ReadFile(key)
	b, _ := os.ReadFile(cert)
	write(s.t, pem, string(a)+string(b))
	return pem, cert
}

// bios switches on a machine for the pool web, and gives its key.
func (s *site) bios(name string) string {
	s.t.Helper()
	return s.powerOn(rack.MachineSpec{Name: name, Firmware: rack.BIOS}).MAC().String()
}

// waitServing waits until a machine is ready in whichever slot.
func (s *site) waitServing(key string) roles.Node {
	s.t.Helper()
	return s.wait(key, "ready", func(n roles.Node) bool { return n.State == roles.StateReady })
}
