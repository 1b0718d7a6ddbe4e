package library

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// votes is what Corosync says of its quorum on a node: who is there, and whether this side may act.
func (x *node) votes() (members string, quorate bool, total string) {
	out, _ := x.try("corosync-quorumtool", "-s") // it fails where there is no quorum
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(line, ":")
		switch v = strings.TrimSpace(v); k {
		case "Nodes":
			members = v
		case "Quorate":
			quorate = v == "Yes"
		case "Total votes":
			total = v
		}
	}
	return members, quorate, total
}

func (x *node) wantVotes(what, members string, quorate bool, total string) {
	x.t.Helper()
	x.eventually(x.name+": "+what, func() error {
		if m, q, n := x.votes(); m != members || q != quorate || total != "" && n != total {
			return fmt.Errorf("nodes %s, quorate %t, votes %s", m, q, n)
		}
		return nil
	})
}

// TestThirdVote: with the role's Corosync and a third vote on the boot server, a half that is cut off has no quorum,
// and the other one has; one that is alone has it only with the third vote, and again when that is back.
func TestThirdVote(t *testing.T) {
	if _, err := exec.LookPath("corosync-qnetd"); err != nil {
		t.Skip("needs corosync-qnetd")
	}
	s := newSite(t, "storage", `{}, pair: {address: 10.77.0.9, disk: {serial: "DATA-*"}}`)
	dir := t.TempDir()
	third := func() (stop func()) {
		t.Helper()
		cmd := s.rack.Command(t.Context(), "corosync-qnetd", "-f", "-s", "off", "-S", "local_socket_file="+filepath.Join(dir, "socket"), "-S", "lock_file="+filepath.Join(dir, "lock"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	stop := third()
	defer func() { stop() }()
	var halves []*node
	for n := 1; n <= 2; n++ {
		x := s.start(n)
		// Certificates are the boot server's affair.
		x.run("sed", "-i", "s/tls: required/tls: off/", "/etc/corosync/corosync.conf")
		x.run("sh", "-c", "mkdir -p /run/corosync-qdevice && mount -t tmpfs shm /dev/shm")
		x.daemon("corosync", "-f")
		halves = append(halves, x)
	}
	for _, x := range halves {
		x.eventually("corosync of "+x.name, func() error {
			if m, _, _ := x.votes(); m == "" {
				return errors.New("it does not answer")
			}
			return nil
		})
		x.daemon("corosync-qdevice", "-f")
	}
	for _, x := range halves {
		x.wantVotes("both halves and the third vote", "2", true, "3")
	}
	cut, left := halves[0], halves[1]
	s.must(s.rack.Command(t.Context(), "ip", "link", "set", "v"+strconv.Itoa(cut.pid), "down"))
	left.wantVotes("left with the third vote", "1", true, "2")
	cut.wantVotes("cut off", "1", false, "1")

	stop()
	left.wantVotes("left alone", "1", false, "1")
	stop = third()
	left.wantVotes("the third vote is back", "1", true, "2")

	s.must(s.rack.Command(t.Context(), "ip", "link", "set", "v"+strconv.Itoa(cut.pid), "up"))
	for _, x := range halves {
		x.wantVotes("both again", "2", true, "3")
	}
}
