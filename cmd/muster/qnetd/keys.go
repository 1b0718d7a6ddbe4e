package qnetd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Names that qnetd and corosync-qdevice look for in their databases, and the subject that corosync-qdevice wants
// of the server.
const (
	caName      = "QNet CA"
	serverName  = "QNetd Cert"
	clusterName = "Cluster Cert"
	serverDN    = "CN=Qnetd Server"
)

// Certificates are good for a hundred years, as those of corosync's own tools are, and from a month ago on: a
// machine's clock may be behind.
const (
	validMonths = "1200"
	warpMonths  = "-1"
)

// toolTime bounds one run of certutil, which takes a tenth of a second: a machine may have to find random numbers.
const toolTime = time.Minute

// Bundle is what one cluster's corosync-qdevice proves itself with.
type Bundle struct {
	// PKCS12 (RFC 7292) has the certificate and key ("Cluster Cert") and the authority's certificate ("QNet CA").
	PKCS12 []byte `json:"pkcs12"`
	// Password protects it.
	Password string `json:"password"`
}

var clusterRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Bundle gives that of a cluster, whose certificate has its name as CN; it is made when it is asked for first, and
// kept. The error wraps fs.ErrInvalid for what is no DNS label, fs.ErrNotExist where the tools are missing.
func (s *Server) Bundle(ctx context.Context, cluster string) (Bundle, error) {
	if !clusterRE.MatchString(cluster) {
		return Bundle{}, fmt.Errorf("qnetd: cluster %q is not a DNS label: %w", cluster, fs.ErrInvalid)
	}
	if err := Missing(); err != nil {
		return Bundle{}, err
	}
	if err := s.makeAuthority(ctx); err != nil {
		return Bundle{}, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	file := filepath.Join(s.Dir, "clusters", cluster+".json")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeBundle(ctx, cluster, file)
	}
	var out Bundle
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("qnetd: key of %s: %w", cluster, err)
	}
	return out, nil
}

// database is the daemon's.
func (s *Server) database() string { return filepath.Join(s.Dir, "nssdb") }

// makeAuthority makes the authority and the server's certificate, unless they are there: all or nothing.
func (s *Server) makeAuthority(ctx context.Context) error {
	s.making.Lock()
	defer s.making.Unlock()
	if _, err := os.Stat(s.database()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	d, err := s.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer d.remove()
	// It asks whether it is an authority's, for how many levels, and whether that is critical (RFC 5280 §4.2.1.9).
	if err := d.make(ctx, "y\n0\ny\n", "-S", "-n", caName, "-s", "CN="+caName, "-x", "-t", "CT,,", "-2"); err != nil {
		return err
	}
	if err := d.make(ctx, "", "-S", "-n", serverName, "-s", serverDN, "-c", caName, "-t", "u,u,u"); err != nil {
		return err
	}
	return d.keep(s.database())
}

// makeBundle makes a cluster's certificate in a database of its own, and keeps what the cluster gets. The caller
// holds making.
func (s *Server) makeBundle(ctx context.Context, cluster, file string) (Bundle, error) {
	d, err := s.newDatabase(ctx)
	if err != nil {
		return Bundle{}, err
	}
	defer d.remove()
	out := Bundle{Password: rand.Text()}
	if err := os.WriteFile(d.path("password"), []byte(out.Password+"\n"), 0o600); err != nil {
		return Bundle{}, fmt.Errorf("qnetd: %w", err)
	}
	ca := database{dir: s.Dir, name: filepath.Base(s.database())}
	steps := []func() error{
		func() error {
			pem, err := ca.certutil(ctx, "", "-L", "-n", caName, "-a")
			if err != nil {
				return err
			}
			return os.WriteFile(d.path("ca"), pem, 0o600)
		},
		func() error { return d.run(ctx, "-A", "-n", caName, "-t", "CT,c,c", "-i", d.path("ca")) },
		func() error { return d.make(ctx, "", "-R", "-s", "CN="+cluster, "-o", d.path("request")) },
		func() error {
			return ca.run(ctx, "-C", "-c", caName, "-m", serial(), "-v", validMonths, "-w", warpMonths, "-i", d.path("request"), "-o", d.path("cert"))
		},
		func() error { return d.run(ctx, "-A", "-n", clusterName, "-t", "u,u,u", "-i", d.path("cert")) },
		func() error {
			_, err := tool(ctx, "", "pk12util", "-o", d.path("p12"), "-n", clusterName, "-d", d.arg(), "-K", "", "-w", d.path("password"))
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Bundle{}, err
		}
	}
	if out.PKCS12, err = os.ReadFile(d.path("p12")); err != nil {
		return Bundle{}, fmt.Errorf("qnetd: %w", err)
	}
	return out, keepBundle(file, out)
}

// keepBundle writes a bundle: whole or not at all, for us alone.
func keepBundle(file string, b Bundle) error {
	text, err := json.Marshal(b)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	return nil
}

// database is an NSS database without a password, in a directory beside which its making leaves files.
type database struct{ dir, name string }

// newDatabase makes an empty one in a directory of its own. What a process left that was killed is removed.
func (s *Server) newDatabase(ctx context.Context) (d database, err error) {
	old, _ := filepath.Glob(filepath.Join(s.Dir, ".new-*"))
	for _, dir := range old { // the caller holds making
		_ = os.RemoveAll(dir)
	}
	dir, err := os.MkdirTemp(s.Dir, ".new-") // mode 0700
	if err != nil {
		return d, fmt.Errorf("qnetd: %w", err)
	}
	d = database{dir, "db"}
	var noise [64]byte
	_, _ = rand.Read(noise[:]) // never fails: crypto/rand
	err = errors.Join(os.Mkdir(d.path(d.name), 0o750), os.WriteFile(d.path("noise"), noise[:], 0o600))
	if err == nil {
		_, err = tool(ctx, "", "certutil", "-N", "-d", d.arg(), "--empty-password")
	}
	if err != nil {
		d.remove()
		return d, fmt.Errorf("qnetd: %w", err)
	}
	return d, nil
}

func (d database) path(file string) string { return filepath.Join(d.dir, file) }

func (d database) arg() string { return "sql:" + d.path(d.name) }

func (d database) remove() { _ = os.RemoveAll(d.dir) }

// keep gives the database its name, when all of it is on the disk.
func (d database) keep(as string) error {
	files, err := os.ReadDir(d.path(d.name))
	for _, f := range files {
		err = errors.Join(err, syncFile(filepath.Join(d.path(d.name), f.Name())))
	}
	if err == nil {
		err = os.Rename(d.path(d.name), as)
	}
	if err = errors.Join(err, syncFile(filepath.Dir(as))); err != nil {
		return fmt.Errorf("qnetd: %w", err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// make runs certutil for something that has a new key, or a new serial number. It answers its questions.
func (d database) make(ctx context.Context, answers string, args ...string) error {
	args = append(args, "-z", d.path("noise"), "-v", validMonths)
	if args[0] == "-S" {
		args = append(args, "-m", serial(), "-w", warpMonths)
	}
	_, err := d.certutil(ctx, answers, args...)
	return err
}

func (d database) run(ctx context.Context, args ...string) error {
	_, err := d.certutil(ctx, "", args...)
	return err
}

func (d database) certutil(ctx context.Context, answers string, args ...string) ([]byte, error) {
	return tool(ctx, answers, "certutil", append(args, "-d", d.arg())...)
}

// serial is a number for a certificate: no two of an authority may share one.
func serial() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])>>1|1), 10)
}

// tool runs one of NSS's and gives what it wrote.
func tool(ctx context.Context, answers, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(answers), &out, &said
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("qnetd: %s %s: %s: %w", name, args[0], lines[len(lines)-1], err)
	}
	return out.Bytes(), nil
}
