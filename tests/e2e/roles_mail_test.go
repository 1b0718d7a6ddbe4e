package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	anna         = "anna@example.org"
	annaPassword = "anna-secret"
)

// TestRoleMail: mail that one node takes is read from the other, and none that was taken is lost when the node's
// power fails in the middle of it.
func TestRoleMail(t *testing.T) {
	s := newRoleSite(t, "mail", `{domains: [example.org], relay: "[10.77.0.1]:2525"}`)
	pem, trust := s.certificate("mail-01.rack.example", "mail-02.rack.example")
	s.muster("secret", "set", "pool/mail/tls", pem)
	hash, err := exec.Command("openssl", "passwd", "-6", annaPassword).Output()
	if err != nil {
		t.Fatal(err)
	}
	s.volume("mail", "users", anna+":"+string(hash))
	first, second := s.roleMachine("mail", "first"), s.roleMachine("mail", "second")
	s.waitServing(first.MAC().String())
	s.waitServing(second.MAC().String())
	s.report(first.MAC().String(), first)
	killed := first
	if n := s.waitReady("mail-01", "mail-01"); n.MAC != first.MAC() {
		killed = second
	}
	box := &mailbox{s, trust}

	// curl is a stranger, a user who sends, and one who reads.
	letter := filepath.Join(s.dir, "letter")
	write(t, letter, "From: stranger@example.com\r\nTo: "+anna+"\r\nSubject: hello\r\n\r\nby-curl\r\n")
	s.until("mail from a stranger", func() error {
		_, err := box.curl(1, "smtp", 25, "", "--mail-from", "stranger@example.com", "--mail-rcpt", anna, "-T", letter)
		return err
	})
	if _, err := box.curl(1, "smtp", 25, "", "--mail-from", "stranger@example.com", "--mail-rcpt", "someone@example.net", "-T", letter); err == nil || !strings.Contains(err.Error(), "554") {
		t.Errorf("the node relays for strangers: %v", err)
	}
	box.want(2, "by-curl")
	user := anna + ":" + annaPassword
	for i := range 3 {
		write(t, letter, fmt.Sprintf("From: %s\r\nTo: someone@example.net\r\nSubject: out\r\n\r\nout-%d\r\n", anna, i))
		if _, err := box.curl(1, "smtp", 587, "", "--ssl-reqd", "-u", user, "--mail-from", anna, "--mail-rcpt", "someone@example.net", "-T", letter); err != nil {
			t.Fatal(err)
		}
	}

	// The power fails while mail comes in.
	taken := s.pour("10.77.0.40:25", 60, func() {
		if err := killed.Off(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d messages were taken before the power failed", len(taken))
	sink := s.sink("10.77.0.1:2525")
	s.roleMachine("mail", "replacement")
	stop := box.watch(2)
	s.waitReady("mail-01", "mail-01")
	missing := ""
	t.Cleanup(func() {
		if t.Failed() && missing != "" {
			t.Logf("%s is in these files of the storage:\n%s", missing, s.filesWith(missing))
		}
	})
	s.until("every message that was taken", func() error {
		all, err := box.read(2)
		if err != nil {
			return err
		}
		missing = ""
		for _, name := range taken {
			if !strings.Contains(all, name) {
				missing = name
				return fmt.Errorf("%s was taken, and is not in the inbox", name)
			}
		}
		return nil
	})
	stop()
	// What waited in the queue for another server leaves by the replacement.
	s.until("the queue", func() error {
		for i := range 3 {
			if got := sink(); !strings.Contains(got, fmt.Sprintf("out-%d", i)) {
				return fmt.Errorf("out-%d did not arrive:\n%s", i, got)
			}
		}
		return nil
	})
	box.want(1, "by-curl")
	// Who speaks with either node sees the same messages under the same numbers.
	s.until("the same inbox on both nodes", func() error {
		one, err := box.numbers(1)
		if err != nil {
			return err
		}
		two, err := box.numbers(2)
		if err == nil && one != two {
			err = fmt.Errorf("mail-01 has\n%s\nmail-02 has\n%s", one, two)
		}
		return err
	})
}

// filesWith lists the files of volumes and state directories that have a text in them.
func (s *site) filesWith(text string) string {
	data := filepath.Join(s.dir, "data")
	out, _ := exec.Command("grep", "-rlF", text, filepath.Join(data, "volumes"), filepath.Join(data, "state")).CombinedOutput() // it fails when there are none
	return string(out)
}

// mailbox is anna's, at any node.
type mailbox struct {
	*site
	trust string
}

// curl speaks with a node over the rack's network.
func (b *mailbox) curl(n int, scheme string, port int, path string, args ...string) (string, error) {
	name := fmt.Sprintf("mail-%02d.rack.example", n)
	all := append([]string{"-sS", "-m", "30", "--cacert", b.trust, "--resolve", fmt.Sprintf("%s:%d:10.77.0.%d", name, port, 39+n)}, args...)
	return b.outside("curl", append(all, fmt.Sprintf("%s://%s:%d/%s", scheme, name, port, path))...)
}

// want waits until a message with the text is in the inbox, read over TLS from a node.
func (b *mailbox) want(n int, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%q at mail-%02d", text, n), func() error {
		out, err := b.curl(n, "imaps", 993, "INBOX", "-u", anna+":"+annaPassword, "-X", "UID SEARCH BODY "+text)
		if err == nil && !strings.Contains(out, "* SEARCH ") {
			err = fmt.Errorf("not there: %q", out)
		}
		return err
	})
}

// watch reads the inbox from a node again and again, until it is stopped: what it has shown once stays there, under its
// number, as nobody removes anything. (A message may be there twice: its node died before it could note that it was
// delivered.)
func (b *mailbox) watch(n int) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with ctx
		var was []string
		for ctx.Err() == nil {
			text, err := b.numbers(n)
			if err != nil {
				time.Sleep(500 * time.Millisecond) // a read that fails is the business of who waits for something
				continue
			}
			now := strings.Split(text, "\n")
			for _, line := range was {
				if !slices.Contains(now, line) {
					b.t.Errorf("mail-%02d had the message %q, and now has\n%s", n, line, text)
					return
				}
			}
			was = now
		}
	})
	stop = func() { cancel(); wg.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// numbers gives every message's UID (RFC 9051 section 2.3.1.1) and subject, in the order of the UIDs.
func (b *mailbox) numbers(n int) (string, error) {
	text, err := b.read(n)
	var out []string
	for _, part := range strings.Split(text, " FETCH (UID ")[1:] {
		uid, _, _ := strings.Cut(part, " ")
		_, subject, _ := strings.Cut(part, "\r\n")
		subject, _, _ = strings.Cut(subject, "\r\n")
		out = append(out, uid+" "+subject)
	}
	return strings.Join(out, "\n"), err
}

// read gives the UIDs and the subjects of the whole inbox, in one session with a node.
func (b *mailbox) read(n int) (string, error) {
	conn, err := b.rack.Dial(b.t.Context(), "tcp", fmt.Sprintf("10.77.0.%d:993", 39+n))
	if err != nil {
		return "", err
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // curl has looked at the certificate
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	fmt.Fprintf(c, "a LOGIN %s %s\r\nb SELECT INBOX\r\nc FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\nd LOGOUT\r\n", anna, annaPassword)
	text, err := io.ReadAll(c)
	if err == nil && !strings.Contains(string(text), "\nc OK") {
		err = fmt.Errorf("IMAP: %s", text)
	}
	return string(text), err
}

// pour sends messages until the server is gone, and gives the names of those that it took. cut is called when it
// took so many, while others are on their way.
func (s *site) pour(server string, enough int, cut func()) (taken []string) {
	s.t.Helper()
	var mu sync.Mutex
	var last error
	var wg, cutting sync.WaitGroup
	end := time.Now().Add(patience)
	for w := range 4 {
		wg.Go(func() { // ends when the server does, or patience
			for i := 0; time.Now().Before(end); i++ {
				name := fmt.Sprintf("poured-%d-%d-end", w, i)
				err := s.letter(server, name)
				mu.Lock()
				if last = err; err != nil {
					mu.Unlock()
					return
				}
				if taken = append(taken, name); len(taken) == enough {
					cutting.Go(cut)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	cutting.Wait()
	if len(taken) < enough {
		s.t.Fatalf("only %d messages were taken; the last sender ended with: %v", len(taken), last)
	}
	return taken
}

// letter sends one message; without an error the server has taken it.
func (s *site) letter(server, body string) error {
	conn, err := s.rack.Dial(s.t.Context(), "tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, "mail")
	if err == nil {
		err = c.StartTLS(&tls.Config{InsecureSkipVerify: true}) // as servers do to each other
	}
	if err == nil {
		err = c.Mail("stranger@example.com")
	}
	if err == nil {
		err = c.Rcpt(anna)
	}
	if err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Subject: %s\r\n\r\n%[1]s\r\n", body)
	return w.Close()
}

// sink is a mail server that takes everything, and gives what it got so far.
func (s *site) sink(address string) func() string {
	s.t.Helper()
	l, err := s.rack.Listen(s.t.Context(), "tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	var got screen
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveSink(c, &got) // ends with the connection
		}
	}()
	return got.String
}

func serveSink(c net.Conn, got *screen) {
	defer c.Close()
	r := bufio.NewScanner(c)
	answer := func(text string) { fmt.Fprint(c, text+"\r\n") }
	answer("220 sink")
	for data := false; r.Scan(); {
		line := r.Text()
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); {
		case data && line != ".":
			fmt.Fprintln(got, line)
		case data:
			data = false
			answer("250 taken")
		case verb == "DATA":
			data = true
			answer("354 go on")
		case verb == "QUIT":
			answer("221 bye")
			return
		default:
			answer("250 fine")
		}
	}
}
