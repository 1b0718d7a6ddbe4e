package health

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/roles"
)

// listenTCP serves each connection by fn and gives the port. A connection is closed when fn returns, and at the end
// of the test at the latest.
func listenTCP(t *testing.T, fn func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var mu sync.Mutex
	var last net.Conn // guarded by mu
	go func() {       // ends when the listener is closed; one connection at a time
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			last = c
			mu.Unlock()
			fn(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		if last != nil {
			last.Close()
		}
		mu.Unlock()
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

// script is a server that says its first line when a client connects, and one more for each line it hears. After
// the last one it hangs up, or with hang waits for the client to do so.
func script(hang bool, says ...string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for i, s := range says {
			if i > 0 {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
		}
		if hang {
			_, _ = io.Copy(io.Discard, r)
		}
	}
}

// endless sends s again and again until the client hangs up.
func endless(s string) func(net.Conn) {
	return func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
		}
	}
}

const ehlo = "250-mail.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"

func TestSMTP(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"good", script(false, "220 mail.example ESMTP\r\n", ehlo, "221 bye\r\n"), ""},
		{"greeting of two lines", script(false, "220-mail.example ESMTP\r\n220 be kind\r\n", "250 mail.example\r\n", "221 bye\r\n"), ""},
		{"bare", script(false, "220\r\n", "250\r\n", "221\r\n"), ""},
		{"no carriage return", script(false, "220 mail\n", "250 mail\n", "221 bye\n"), ""},
		{"hangs up at QUIT", script(false, "220 mail.example\r\n", ehlo, ""), ""},
		{"takes no mail", script(false, "554 no mail here\r\n"), `answers the connection with "554 no mail here"`},
		{"busy", script(false, "421 4.3.2 try later\r\n"), `with "421 4.3.2 try later"`},
		{"refuses EHLO", script(false, "220 mail.example\r\n", "502 what?\r\n"), `answers EHLO with "502 what?"`},
		{"turns bad within its answer", script(false, "220 mail.example\r\n", "250-mail.example\r\n421 no\r\n"), `answers EHLO with "421 no"`},
		{"bad end", script(false, "220 mail.example\r\n", ehlo, "451 stay\r\n"), `answers QUIT with "451 stay"`},
		{"IMAP", script(false, "* OK ready\r\n"), `answers the connection with "* OK ready"`},
		{"code of four", script(false, "2200 mail\r\n"), `answers the connection with "2200 mail"`},
		{"control bytes", script(false, "\x00\x1b[2J\r\n"), `answers the connection with "\x00\x1b[2J"`},
		{"empty line", script(false, "\r\n"), `answers the connection with ""`},
		{"long words", script(false, "500 "+strings.Repeat("x", 4000)+"\r\n"), strings.Repeat("x", 100) + `…"`},
		{"closes", script(false), "closed the connection before it answered"},
		{"closes within a line", script(false, "220 ma"), "closed the connection before it answered"},
		{"closes after the greeting", script(false, "220 mail.example\r\n"), "closed the connection before it answered"},
		{"endless line", endless("x"), "with a line of more than 8192 bytes, which is no SMTP"},
		{"endless greeting", endless("220-more\r\n"), "does not end its answer to the connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, roles.Health{SMTP: &roles.SMTPCheck{Port: listenTCP(t, c.serve)}}, loopback, c.want)
		})
	}
}

// TestSMTPWords: the client says what RFC 5321 has it say, and no more.
func TestSMTPWords(t *testing.T) {
	said := make(chan string, 2)
	port := listenTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for _, s := range []string{"220 mail.example\r\n", ehlo, "221 bye\r\n"} {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
			if s[:3] == "221" {
				return
			}
			line, _ := r.ReadString('\n')
			said <- line
		}
	})
	check(t, roles.Health{SMTP: &roles.SMTPCheck{Port: port}}, loopback, "")
	if a, b := <-said, <-said; a != "EHLO [127.0.0.1]\r\n" || b != "QUIT\r\n" {
		t.Errorf("the client says %q, %q", a, b)
	}
	for address, want := range map[string]string{
		"[2001:db8::1]:2525": "[IPv6:2001:db8::1]", "[fe80::1%eth0]:25": "[IPv6:fe80::1]", "[::ffff:192.0.2.1]:25": "[192.0.2.1]",
	} {
		if got := literal(name(address)); got != want {
			t.Errorf("literal(%s) = %s, want %s", address, got, want)
		}
	}
}

// name is an address that is nothing but its text.
type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

func TestIMAP(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"good", script(false, "* OK [CAPABILITY IMAP4rev1] ready\r\n", "* BYE bye\r\nm1 OK done\r\n"), ""},
		{"small letters", script(false, "* ok\r\n", "* bye\r\nm1 ok\r\n"), ""},
		{"authenticated before", script(false, "* PREAUTH welcome\r\n", "* BYE\r\nm1 OK done\r\n"), ""},
		{"refuses", script(false, "* BYE too many\r\n"), `answers the connection with "* BYE too many"`},
		{"nearly OK", script(false, "* OKAY\r\n"), `answers the connection with "* OKAY"`},
		{"POP3", script(false, "+OK ready\r\n"), `answers the connection with "+OK ready"`},
		{"bad LOGOUT", script(false, "* OK ready\r\n", "m1 BAD what?\r\n"), `answers LOGOUT with "m1 BAD what?"`},
		{"another's answer", script(false, "* OK ready\r\n", "* BYE\r\nm2 OK done\r\n"), `answers LOGOUT with "m2 OK done"`},
		{"closes at LOGOUT", script(false, "* OK ready\r\n", "* BYE bye\r\n"), "closed the connection before it answered"},
		{"endless", func(c net.Conn) {
			script(false, "* OK ready\r\n", "")(c)
			endless("* 1 EXISTS\r\n")(c)
		}, "does not end its answer to LOGOUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, roles.Health{IMAP: &roles.IMAPCheck{Port: listenTCP(t, c.serve)}}, loopback, c.want)
		})
	}
}

// TestTalkSilence: a server that says nothing, or stops in the middle, fails at the timeout, which is one for all.
func TestTalkSilence(t *testing.T) {
	const timeout = roles.Duration(50 * time.Millisecond)
	for name, serve := range map[string]func(net.Conn){
		"at once":      script(true),
		"after a line": script(true, "220-* OK\r\n"),
		"drops": func(c net.Conn) { // one byte at a time
			for range 10_000 {
				if _, err := io.WriteString(c, "2"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			port := listenTCP(t, serve)
			check(t, roles.Health{SMTP: &roles.SMTPCheck{Port: port}, Timeout: timeout}, loopback,
				fmt.Sprintf("no answer from 127.0.0.1:%d within 50ms", port))
		})
	}
	port := listenTCP(t, script(true, "* OK ready\r\n"))
	check(t, roles.Health{IMAP: &roles.IMAPCheck{Port: port}, Timeout: timeout}, loopback,
		fmt.Sprintf("no answer from 127.0.0.1:%d within 50ms", port))
	port = closedPort(t)
	want := fmt.Sprintf("connection refused: nothing listens on port %d of 127.0.0.1", port)
	check(t, roles.Health{SMTP: &roles.SMTPCheck{Port: port}}, loopback, want)
	check(t, roles.Health{IMAP: &roles.IMAPCheck{Port: port}}, loopback, want)
}
