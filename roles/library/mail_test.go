package library

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"
)

// startMail does what systemd does.
func (x *node) startMail() {
	x.t.Helper()
	x.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/mail.conf")
	x.run("/usr/local/lib/muster/own-queue")
	x.run("postconf", "-e", "maillog_file=/dev/stdout")
	x.daemon("dovecot", "-F", "-o", "log_path=/dev/stderr")
	x.eventually("dovecot", func() error { _, err := x.try("test", "-S", "/run/dovecot/lmtp"); return err })
	x.daemon("postfix", "start-fg")
	x.eventually("postqueue", func() error { _, err := x.try("postqueue", "-f"); return err })
	x.healthy()
}

// addUser does what the role says that an operator does.
func (s *site) addUser(name, password string) {
	s.t.Helper()
	s.must(exec.Command("sh", "-c", fmt.Sprintf(`echo "%s:$(openssl passwd -6 %s)" >> %s/users`, name, password, s.volume("mail"))))
}

// certificate is what a client trusts.
func (s *site) certificate() *x509.CertPool {
	s.t.Helper()
	secrets, err := s.registry.Secrets()
	if err != nil {
		s.t.Fatal(err)
	}
	trust := x509.NewCertPool()
	for _, secret := range secrets {
		if strings.HasSuffix(secret.Key, "/tls") {
			trust.AppendCertsFromPEM([]byte(secret.Public))
		}
	}
	return trust
}

func (x *node) tls() *tls.Config {
	return &tls.Config{RootCAs: x.certificate(), ServerName: x.name + ".rack.example"}
}

func (x *node) dial(port string) net.Conn {
	x.t.Helper()
	c, err := x.rack.Dial(x.t.Context(), "tcp", x.address+":"+port)
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

// send sends a message as a stranger (auth nil) or a user does, and gives the server's refusal.
func (x *node) send(port string, auth smtp.Auth, from, to, body string) error {
	x.t.Helper()
	conn := x.dial(port)
	defer conn.Close()
	if port == "465" {
		conn = tls.Client(conn, x.tls())
	}
	c, err := smtp.NewClient(conn, x.name+".rack.example")
	if err != nil {
		return err
	}
	if port != "465" {
		if err := c.StartTLS(x.tls()); err != nil {
			return err
		}
	}
	if auth != nil {
		if err := c.Auth(auth); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: %s\r\nTo: %s\r\nSubject: test\r\n\r\n%s\r\n", from, to, body)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// code is the code of a refusal; 0 for none.
func code(err error) int {
	var e *textproto.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return -1
	}
	return 0
}

// imap says commands and gives the answers to the last one.
func (x *node) imap(port, user, password string, commands ...string) (string, error) {
	x.t.Helper()
	conn, err := x.rack.Dial(x.t.Context(), "tcp", x.address+":"+port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if port == "993" {
		conn = tls.Client(conn, x.tls())
	}
	c := textproto.NewConn(conn)
	if line, err := c.ReadLine(); err != nil || !strings.HasPrefix(line, "* OK") {
		return line, fmt.Errorf("greeting: %q %w", line, err)
	}
	say := func(n int, command string) (string, error) {
		if err := c.PrintfLine("a%d %s", n, command); err != nil {
			return "", err
		}
		var all strings.Builder
		for {
			line, err := c.ReadLine()
			if err != nil {
				return all.String(), err
			}
			all.WriteString(line + "\n")
			if rest, ok := strings.CutPrefix(line, fmt.Sprintf("a%d ", n)); ok {
				if !strings.HasPrefix(rest, "OK") {
					return all.String(), fmt.Errorf("%s: %s", command, rest)
				}
				return all.String(), nil
			}
		}
	}
	if port == "143" {
		if _, err := say(0, "STARTTLS"); err != nil {
			return "", err
		}
		c = textproto.NewConn(tls.Client(conn, x.tls()))
	}
	if _, err := say(1, fmt.Sprintf("LOGIN %q %q", user, password)); err != nil {
		return "", err
	}
	var last string
	for i, command := range commands {
		var err error
		if last, err = say(i+2, command); err != nil {
			return last, err
		}
	}
	return last, nil
}

// wantMail waits until a message with the text is in the user's inbox.
func (x *node) wantMail(user, password, text string) {
	x.t.Helper()
	x.eventually(fmt.Sprintf("%q in the inbox of %s at %s", text, user, x.name), func() error {
		out, err := x.imap("143", user, password, "SELECT INBOX", "UID SEARCH BODY "+text)
		if err == nil && !strings.Contains(out, "* SEARCH ") { // without a number there is none
			err = errors.New(out)
		}
		return err
	})
}

const (
	anna = "anna@example.org"
	bert = "bert@rack.example"
)

func TestMail(t *testing.T) {
	s := newSite(t, "mail", "{domains: [example.org, rack.example], aliases: {postmaster@example.org: anna@example.org, all@example.org: 'anna@example.org, bert@rack.example'}}")
	x, y := s.start(1), s.start(2)
	x.verify()
	x.startMail()
	y.startMail()
	if out := x.run("postfix", "check"); out != "" { // what its quick start left out
		t.Error(out)
	}
	if out := x.run("postconf", "-n"); strings.Contains(out, "warning") {
		t.Error(out)
	}
	if out := x.run("doveconf", "-n"); strings.Contains(out, "Warning") {
		t.Error(out)
	}
	s.addUser(anna, "anna-secret")

	// A stranger's mail: for users, and for nobody else.
	for _, c := range []struct {
		from, to string
		code     int
	}{
		{"stranger@example.com", anna, 0},
		{"stranger@example.com", "Anna+tag@Example.ORG", 0},
		{"", "postmaster@example.org", 0},
		{"stranger@example.com", bert, 550},
		{"stranger@example.com", "nobody@example.org", 550},
		{"stranger@example.com", "root@mail-01.rack.example", 554},
		{"stranger@example.com", "root@localhost", 554},
		{"stranger@example.com", "someone@example.com", 554},
		{anna, "someone@example.com", 554},
		{"stranger@example.com", "someone%example.com@example.org", 554},
		{"stranger@example.com", "\"someone@example.com\"@example.org", 554},
		{"stranger@example.com", "someone@[192.0.2.1]", 554},
	} {
		if err := x.send("25", nil, c.from, c.to, "from-a-stranger"); code(err) != c.code {
			t.Errorf("mail from %s to %s: %v, want %d", c.from, c.to, err, c.code)
		}
	}
	// A user who was refused a moment ago, and is there now.
	s.addUser(bert, "bert-secret")
	s.eventually("mail for a new user", func() error { return y.send("25", nil, "stranger@example.com", bert, "hello-bert") })
	y.wantMail(anna, "anna-secret", "from-a-stranger")
	x.wantMail(bert, "bert-secret", "hello-bert")

	// Users.
	name := "mail-01.rack.example"
	auth := smtp.PlainAuth("", anna, "anna-secret", name)
	for _, c := range []struct {
		port     string
		auth     smtp.Auth
		from, to string
		code     int
	}{
		{"587", auth, anna, bert, 0},
		{"465", auth, anna, bert, 0},
		{"587", auth, "anna+x@example.org", "all@example.org", 0},
		{"587", auth, "postmaster@example.org", bert, 0},
		{"587", auth, bert, anna, 553},
		{"587", auth, "someone@example.com", anna, 553},
		{"587", nil, anna, bert, 553},
		{"465", nil, anna, bert, 553},
		{"587", smtp.PlainAuth("", anna, "wrong", name), anna, bert, 535},
		{"25", auth, anna, bert, 503}, // no authentication there
	} {
		if err := x.send(c.port, c.auth, c.from, c.to, "port-"+c.port); code(err) != c.code && (c.port != "25" || err == nil) {
			t.Errorf("port %s, mail from %s to %s: %v, want %d", c.port, c.from, c.to, err, c.code)
		}
	}
	for _, text := range []string{"port-587", "port-465"} {
		y.wantMail(bert, "bert-secret", text)
	}
	y.wantMail(anna, "anna-secret", "port-587")
	y.checkIMAP()
}

// checkIMAP: no password in the clear, no false one; what one node does to a mailbox the other sees.
func (x *node) checkIMAP() {
	t := x.t
	t.Helper()
	c := textproto.NewConn(x.dial("143"))
	defer c.Close()
	if line, err := c.ReadLine(); err != nil || !strings.Contains(line, "STARTTLS LOGINDISABLED") {
		t.Errorf("greeting %q, %v", line, err)
	}
	if err := c.PrintfLine("a1 LOGIN %s anna-secret", anna); err != nil {
		t.Fatal(err)
	}
	for line := "*"; strings.HasPrefix(line, "*"); {
		var err error
		if line, err = c.ReadLine(); err != nil || strings.HasPrefix(line, "a1 OK") {
			t.Fatalf("a password in the clear: %q, %v", line, err)
		}
	}
	if _, err := x.imap("993", anna, "bert-secret"); err == nil || !strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
		t.Errorf("a wrong password: %v", err)
	}
	if out, err := x.imap("993", "ANNA@example.org", "anna-secret", `LIST "" *`); err != nil || !strings.Contains(out, "Sent") {
		t.Errorf("LIST: %v %s", err, out)
	}
}

// TestMailQueue: what was taken while its recipient's storage did not work is delivered by a replacement, even when its
// image knows Postfix by another number.
func TestMailQueue(t *testing.T) {
	s := newSite(t, "mail", "{domains: [example.org]}")
	x := s.start(1)
	x.startMail()
	s.addUser(anna, "anna-secret")
	s.eventually("mail", func() error { return x.send("25", nil, "stranger@example.com", anna, "first") })
	x.wantMail(anna, "anna-secret", "first")
	x.run("doveadm", "stop")
	for i := range 5 {
		// The recipient is known to be one, for an hour.
		if err := x.send("25", nil, "stranger@example.com", anna, fmt.Sprintf("queued-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	x.kill()
	queue := s.dir + "/state/mail-01/-var-spool-postfix"
	s.must(exec.Command("sh", "-c", "chown -R 4242 "+queue+"/[a-z]*; chown 0 "+queue+"/pid"))
	x = s.start(1)
	x.startMail()
	for i := range 5 {
		x.wantMail(anna, "anna-secret", fmt.Sprintf("queued-%d", i))
	}
	if out := x.run("postfix", "check"); out != "" {
		t.Error(out)
	}
}

// TestMailQueueCrash: a power cut while the queue is made ready leaves nothing that the next start does not put right.
func TestMailQueueCrash(t *testing.T) {
	x := newSite(t, "mail", "{domains: [example.org]}").start(1)
	x.put("/tmp/chown", []byte("#!/bin/sh\ntest ! -e /tmp/left && exec /bin/chown \"$@\"\nread -r n </tmp/left\n[ $n -gt 0 ] || exit 1\necho $((n - 1)) >/tmp/left\nexec /bin/chown \"$@\"\n"), 0o755)
	queue := func() string {
		return x.run("sh", "-c", "cd /var/spool/postfix && stat -c '%n %U %G %a' active deferred incoming maildrop private public saved")
	}
	x.run("/usr/local/lib/muster/own-queue")
	want := queue()
	for n := 0; ; n++ {
		x.run("sh", "-c", "cd /var/spool/postfix && chown -R 4242:0 [a-z]* && chmod 755 maildrop public")
		x.put("/tmp/left", fmt.Appendf(nil, "%d\n", n), 0o644)
		_, err := x.try("sh", "-c", "PATH=/tmp:$PATH /usr/local/lib/muster/own-queue")
		x.run("rm", "/tmp/left")
		x.run("/usr/local/lib/muster/own-queue")
		if got := queue(); got != want {
			t.Fatalf("after a cut before change number %d:\n%s, want\n%s", n+1, got, want)
		}
		if err == nil {
			break
		}
	}
}
