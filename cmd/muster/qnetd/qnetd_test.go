package qnetd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what takes a moment.
const patience = 30 * time.Second

func need(t *testing.T) {
	t.Helper()
	if err := Missing(); err != nil {
		t.Skipf("needs corosync-qnetd: %v", err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl: reads PKCS #12")
	}
}

// reachable is an empty directory that every user may enter, as a server's data directory is.
func reachable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// start runs a server until the test ends.
func start(t *testing.T, dir string) *Server {
	t.Helper()
	// One that the kernel gives away may be another process's in a moment; it gives none below 32768.
	s := &Server{Dir: dir, Listen: "127.0.0.1", Port: 20000 + os.Getpid()%10000}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if pid := s.PID(); pid != 0 {
			t.Errorf("the daemon %d was left", pid)
		}
	})
	return s
}

// dial connects to s as soon as it listens.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port()))
		if err == nil {
			t.Cleanup(func() { c.Close() })
			_ = c.SetDeadline(time.Now().Add(patience))
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Messages of corosync-qdevice's protocol: a type, the length of what follows, options.
const (
	msgPreinit      = 0
	msgPreinitReply = 1
	msgStartTLS     = 2
	msgServerError  = 5
)

func send(t *testing.T, c net.Conn, kind uint16, body []byte) {
	t.Helper()
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func receive(c net.Conn) (kind uint16, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[2:])))
	return binary.BigEndian.Uint16(head), err
}

// hello begins a session of a cluster as corosync-qdevice does, up to TLS.
func hello(t *testing.T, s *Server, cluster string) net.Conn {
	t.Helper()
	c := dial(t, s)
	name := binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(len(cluster))) // option 1 is the cluster's name
	send(t, c, msgPreinit, append(name, cluster...))
	if kind, err := receive(c); err != nil || kind != msgPreinitReply {
		t.Fatalf("message %d, %v", kind, err)
	}
	send(t, c, msgStartTLS, []byte{0, 0, 0, 4, 0, 0, 0, 1}) // option 0 is a sequence number
	return c
}

// speaks says whether the daemon answers through TLS. What it gets there is out of order, and it says so.
func speaks(t *testing.T, c *tls.Conn) error {
	t.Helper()
	if err := c.Handshake(); err != nil {
		return err
	}
	if _, err := c.Write([]byte{0, msgPreinit, 0, 0, 0, 0}); err != nil {
		return err
	}
	kind, err := receive(c)
	if err == nil && kind != msgServerError {
		t.Errorf("message %d", kind)
	}
	return err
}

// client gives what a bundle makes a client.
func client(t *testing.T, b Bundle) (*tls.Config, *x509.Certificate) {
	t.Helper()
	p12 := filepath.Join(t.TempDir(), "p12")
	if err := os.WriteFile(p12, b.PKCS12, 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := func(args ...string) []byte {
		cmd := exec.Command("openssl", append([]string{"pkcs12", "-in", p12, "-passin", "env:PASSWORD", "-nodes"}, args...)...)
		cmd.Env = append(os.Environ(), "PASSWORD="+b.Password)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl: %v", err)
		}
		return out
	}
	pair, err := tls.X509KeyPair(openssl("-clcerts", "-nokeys"), openssl("-nocerts"))
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(openssl("-cacerts", "-nokeys")) {
		t.Fatal("no authority in the bundle")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		// The name is in the CN, where Go does not look.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cn := cs.PeerCertificates[0].Subject.CommonName; cn != "Qnetd Server" {
				return fmt.Errorf("the server is %q", cn)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: authority})
			return err
		},
	}, pair.Leaf
}

func TestVote(t *testing.T) {
	need(t)
	dir := filepath.Join(reachable(t), "qnetd")
	s := start(t, dir)
	b, err := s.Bundle(t.Context(), "storage")
	if err != nil {
		t.Fatal(err)
	}
	conf, leaf := client(t, b)
	if leaf.Subject.CommonName != "storage" || time.Until(leaf.NotAfter) < 50*365*24*time.Hour || time.Since(leaf.NotBefore) < 20*24*time.Hour {
		t.Errorf("certificate of %q from %s to %s", leaf.Subject.CommonName, leaf.NotBefore, leaf.NotAfter)
	}
	if err := speaks(t, tls.Client(hello(t, s, "storage"), conf)); err != nil {
		t.Errorf("with the bundle: %v", err)
	}
	without := conf.Clone()
	without.Certificates = nil
	if err := speaks(t, tls.Client(hello(t, s, "storage"), without)); err == nil {
		t.Error("without a certificate it speaks")
	}
	// Another authority's.
	other := &Server{Dir: filepath.Join(t.TempDir(), "other")}
	ob, err := other.Bundle(t.Context(), "storage")
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := client(t, ob)
	foreign.VerifyConnection = nil
	if err := speaks(t, tls.Client(hello(t, s, "storage"), foreign)); err == nil {
		t.Error("with another authority's certificate it speaks")
	}

	// It comes back, with the same keys.
	pid := s.PID()
	if fi, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil || fi.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("it runs as root (%v)", err)
	}
	if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Fatalf("process %d", pid)
	}
	for end := time.Now().Add(patience); s.PID() == pid || s.PID() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come back")
		}
	}
	if err := speaks(t, tls.Client(hello(t, s, "storage"), conf)); err != nil {
		t.Errorf("after its death: %v", err)
	}
	// So it does for another process of ours.
	again := &Server{Dir: dir}
	b2, err := again.Bundle(t.Context(), "storage")
	if err != nil || string(b2.PKCS12) != string(b.PKCS12) || b2.Password != b.Password {
		t.Errorf("another bundle, %v", err)
	}
}

// TestBundleImports: corosync-qdevice's certutil does this.
func TestBundleImports(t *testing.T) {
	need(t)
	s := &Server{Dir: filepath.Join(t.TempDir(), "qnetd")}
	b, err := s.Bundle(t.Context(), "storage")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	none := write("none", "")
	run("certutil", "-N", "-d", dir, "-f", none)
	run("pk12util", "-i", write("p12", string(b.PKCS12)), "-d", dir, "-w", write("password", b.Password+"\n"), "-k", none)
	run("certutil", "-M", "-d", dir, "-n", caName, "-t", "CT,c,c")
	list := run("certutil", "-L", "-d", dir)
	if !strings.Contains(list, caName) || !strings.Contains(list, clusterName) {
		t.Errorf("the database has\n%s", list)
	}
	if out := run("certutil", "-V", "-d", dir, "-n", clusterName, "-u", "C"); !strings.Contains(out, "valid") {
		t.Errorf("as a client's it is %s", out)
	}
	if _, err := s.Bundle(t.Context(), "../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a cluster of that name: %v", err)
	}
}

// TestHand: the daemon's user gets what is its own, whatever it put there, and nobody gets the clusters' keys.
func TestHand(t *testing.T) {
	need(t)
	dir := filepath.Join(t.TempDir(), "qnetd")
	s := &Server{Dir: dir}
	if _, err := s.Bundle(t.Context(), "storage"); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(s.runDir(), "below", "file")
	if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, path := range []string{inside, filepath.Join(s.database(), "cert9.db")} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Skipf("needs root: gives files away: %v", err)
		}
	}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	owner := func(path string) uint32 {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Sys().(*syscall.Stat_t).Uid
	}
	if owner(filepath.Join(s.database(), "cert9.db")) == nobody {
		t.Error("the database is not the daemon's")
	}
	// Its user may exchange a directory of its own for a link to /etc while this looks into it.
	if owner(inside) != nobody {
		t.Error("what lies deeper was given away as well")
	}
	for path, mode := range map[string]os.FileMode{dir: 0o750, filepath.Join(dir, "clusters"): 0o700, filepath.Join(dir, "clusters", "storage.json"): 0o600} {
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != mode || fi.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			t.Errorf("%s: %v, %v", path, fi, err)
		}
	}
}

// TestRootIsTold: where the daemon's user cannot get to its files it runs as root, and that is said with what to do.
func TestRootIsTold(t *testing.T) {
	need(t)
	if os.Getuid() != 0 {
		t.Skip("needs root: another user's daemon")
	}
	parent := filepath.Join(reachable(t), "data")
	for mode, told := range map[os.FileMode]bool{0o700: true, 0o755: false} {
		if err := errors.Join(os.MkdirAll(parent, mode), os.Chmod(parent, mode)); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := &Server{Dir: filepath.Join(parent, "qnetd"), Log: slog.New(slog.NewTextHandler(&log, nil))}
		if err := s.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "chmod o+x "+parent); got != told {
			t.Errorf("below a directory of mode %o: %s", mode, log.String())
		}
		if root := s.command().SysProcAttr == nil; root != told {
			t.Errorf("below a directory of mode %o it runs as root: %v", mode, root)
		}
	}
}

// TestWithoutPrograms: a boot server without the vote is one, and it goes on as soon as they are installed.
func TestWithoutPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Missing()
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), Install) {
		t.Errorf("Missing() = %v", err)
	}
	s := &Server{Dir: filepath.Join(t.TempDir(), "qnetd")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil || s.Up() {
		t.Errorf("Serve = %v, up %v", err, s.Up())
	}
	if _, err := s.Bundle(t.Context(), "storage"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Bundle = %v", err)
	}
}
