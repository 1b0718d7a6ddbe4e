package dhcpd_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/dhcpd"
	"muster/dhcpd/trace"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

const goldenDir = "testdata/golden"

// TestGolden holds what the server says to every kind of client in every state, byte for byte: as a dump for people, and
// as a pcap for Wireshark. -update writes both anew.
func TestGolden(t *testing.T) {
	names := map[string]bool{}
	for _, c := range dhcpd.GoldenCases(t) {
		if names[c.Name] {
			t.Errorf("two are called %s", c.Name)
		}
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			golden(t, c.Name+".txt", []byte(dump(c.Packets)))
			golden(t, c.Name+".pcap", capture(t, c.Packets))
		})
	}
	files, err := filepath.Glob(goldenDir + "/*")
	if err != nil || len(files) != 2*len(names) {
		t.Errorf("%d files for %d talks, %v: one is nobody's any more", len(files), len(names), err)
	}
}

// dump is a talk for people, with the bytes of what the server says.
func dump(talk []dhcpd.Packet) string {
	var b strings.Builder
	for _, p := range talk {
		fmt.Fprintf(&b, "%s %s\n", trace.Way(p), trace.Summary(p))
		for _, line := range trace.Details(p) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		if !p.In {
			b.WriteString(hex.Dump(p.Data))
		}
	}
	return b.String()
}

func capture(t *testing.T, talk []dhcpd.Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := trace.NewPCAP(&b)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, p := range talk {
		if err == nil {
			err = w.Write(trace.Record{Packet: p, Time: at})
		}
		at = at.Add(time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join(goldenDir, name)
	if *update {
		if err := os.MkdirAll(goldenDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", file, d)
	}
}

// TestGoldenReads: another program reads each capture, and finds nothing wrong with its packets.
func TestGoldenReads(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	for _, c := range dhcpd.GoldenCases(t) {
		out, err := exec.Command("tcpdump", "-n", "-vv", "-r", filepath.Join(goldenDir, c.Name+".pcap")).Output()
		if n := bytes.Count(out, []byte("udp sum ok")); err != nil || n != len(c.Packets) || bytes.Contains(out, []byte("bad ")) || bytes.Contains(out, []byte("[|")) {
			t.Errorf("%s: tcpdump reads %d packets, want %d: %v\n%s", c.Name, n, len(c.Packets), err, out)
		}
	}
}
