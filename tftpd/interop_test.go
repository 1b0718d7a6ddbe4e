package tftpd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
)

// sizes are those where TFTP servers go wrong: empty, around one block, a multiple of the block, big.
var sizes = []int{0, 1, 511, 512, 513, 1428 * 16, 1_000_003}

func sizedFiles() map[string][]byte {
	m := map[string][]byte{}
	for _, n := range sizes {
		m[fmt.Sprintf("dir/file-%d", n)] = content(n)
	}
	return m
}

// TestClients fetches files with the clients that people have, each with its own ideas of the protocol.
func TestClients(t *testing.T) {
	all := sizedFiles()
	addr, ended := start(t, &Server{FS: files(all)}, "127.0.0.1:0")
	host, port := addr.Addr().String(), fmt.Sprint(addr.Port())
	atftp := func(options ...string) func(name, out string) []string {
		return func(name, out string) []string {
			args := []string{"atftp"}
			for _, o := range options {
				args = append(args, "--option", o)
			}
			return append(args, "-g", "-r", name, "-l", out, host, port)
		}
	}
	for _, c := range []struct {
		name             string
		command          func(name, out string) []string
		blksize, windows int
	}{
		{"tftp-hpa", func(name, out string) []string {
			return []string{"tftp", "-m", "octet", host, port, "-c", "get", name, out}
		}, 512, 1},
		{"atftp", atftp(), 512, 1},
		{"atftp blksize", atftp("blksize 1428", "tsize 0", "timeout 3"), 1428, 1},
		{"atftp windowsize", atftp("blksize 1428", "windowsize 16"), 1428, 16},
		{"busybox", func(name, out string) []string {
			return []string{"busybox", "tftp", "-g", "-b", "1428", "-r", name, "-l", out, host, port}
		}, 1428, 1},
		{"curl", func(name, out string) []string {
			return []string{"curl", "-sS", "--tftp-blksize", "8192", "-o", out, "tftp://" + addr.String() + "/" + name}
		}, 8192, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, want := range all {
				if c.name == "curl" && len(want) == 0 {
					continue // curl 7.88 fails on an empty file of any server, after it has it
				}
				out := filepath.Join(t.TempDir(), "out")
				run(t, c.command(name, out)...)
				got, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, got, want)
				tr := ended.next(t)
				if tr.Err != nil || tr.File != name || tr.Bytes != int64(len(want)) ||
					tr.Blksize != c.blksize || tr.Windowsize != c.windows || tr.Retransmissions != 0 {
					t.Errorf("observed %+v", tr)
				}
			}
		})
	}
}

// run runs a client and fails the test, with what it said, when the client does.
func run(t *testing.T, command ...string) {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("needs %s: %v", command[0], err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// TestPinClient: the Go client that doctor and the storm use.
func TestPinClient(t *testing.T) {
	all := sizedFiles()
	addr, _ := start(t, &Server{FS: files(all)}, "127.0.0.1:0")
	c, err := tftp.NewClient(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetBlockSize(1428)
	c.RequestTSize(true)
	for name, want := range all {
		r, err := c.Receive("/"+name, "octet")
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := r.(tftp.IncomingTransfer).Size(); !ok || n != int64(len(want)) {
			t.Errorf("%s: tsize = %d, %v, want %d", name, n, ok, len(want))
		}
		var got bytes.Buffer
		if _, err := r.WriteTo(&got); err != nil {
			t.Fatal(err)
		}
		equal(t, got.Bytes(), want)
	}
	if _, err := c.Receive("nothing", "octet"); err == nil || !strings.Contains(err.Error(), "code: 1") {
		t.Errorf("a file that is not there: %v, want code 1", err)
	}
	r, err := c.Send("dir/new", "octet")
	if err == nil {
		_, err = r.ReadFrom(strings.NewReader("x"))
	}
	if err == nil || !strings.Contains(err.Error(), "code=2") {
		t.Errorf("write request: %v, want code 2", err)
	}
}

// pinFetch fetches "f" with the Go client.
func pinFetch(addr netip.AddrPort, set func(*tftp.Client)) ([]byte, error) {
	c, err := tftp.NewClient(addr.String())
	if err != nil {
		return nil, err
	}
	c.SetBlockSize(1428)
	set(c)
	r, err := c.Receive("f", "octet")
	if err != nil {
		return nil, err
	}
	var got bytes.Buffer
	_, err = r.WriteTo(&got)
	return got.Bytes(), err
}

// TestManyClients: a row of machines at once behind one address, with fewer places than machines: some wait, and those that
// find no room to wait ask again.
func TestManyClients(t *testing.T) {
	want := content(150_000)
	addr, _ := start(t, &Server{FS: files(map[string][]byte{"f": want}), MaxTransfers: 20}, "127.0.0.1:0")
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			got, err := pinFetch(addr, func(c *tftp.Client) {
				c.SetTimeout(20 * time.Millisecond)
				c.SetRetries(1000)
				c.SetBackoff(func(int) time.Duration { return 10 * time.Millisecond })
			})
			if err != nil {
				t.Error(err)
				return
			}
			equal(t, got, want)
		})
	}
	wg.Wait()
}

// TestNetascii: a text comes out of a client that translates it back as it was, on both sides of a block's
// end.
func TestNetascii(t *testing.T) {
	text := []byte(strings.Repeat("line\n", 700) + strings.Repeat("\n", 600) + "a\rb\r\nend")
	addr, _ := start(t, &Server{FS: files(map[string][]byte{"text": text})}, "127.0.0.1:0")
	out := filepath.Join(t.TempDir(), "out")
	run(t, "tftp", "-m", "ascii", addr.Addr().String(), fmt.Sprint(addr.Port()), "-c", "get", "text", out)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, text)
}

// TestBothFamilies fetches over IPv6 and IPv4 from one socket of both families.
func TestBothFamilies(t *testing.T) {
	want := content(100_000)
	addr, ended := start(t, &Server{FS: files(map[string][]byte{"f": want})}, "[::]:0")
	for _, host := range []string{"[::1]", "127.0.0.1"} {
		out := filepath.Join(t.TempDir(), "out")
		run(t, "curl", "-sS", "--tftp-blksize", "65464", "-o", out, fmt.Sprintf("tftp://%s:%d/f", host, addr.Port()))
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, want)
		if tr := ended.next(t); strings.Trim(host, "[]") != tr.Local.String() || tr.Blksize != 65464 {
			t.Errorf("asked %s: %+v", host, tr)
		}
	}
}
