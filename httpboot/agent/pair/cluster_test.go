package pair

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// known makes the half's disk the pair's.
func (h *half) known() {
	h.f.disk("vdb", "DATA-1", testDisk)
	h.f.meta("vdb", 0x1111, metaMagic)
	h.f.poke("vdb", 1080) // the file system of before
	h.server.orders.Known = "0000000000001111"
}

// started is a half whose cluster runs.
func (h *half) started(s drbd) {
	h.known()
	if err := h.machine.link(h.f.t.Context(), disk{device: "/dev/vdb"}); err != nil {
		h.f.t.Fatal(err)
	}
	h.f.file(StartFile, "")
	h.f.file(nssDone, "")
	h.f.file("/proc/99/comm", "pacemakerd\n")
	h.drbd.set(s)
}

func TestStaleHalfIsOutdatedBeforeItStarts(t *testing.T) {
	h := newHalf(t)
	h.known()
	h.drbd.up = loneState
	h.server.orders.Outdated, h.server.orders.Start = true, true
	r := h.settle()
	want := []string{"drbdadm outdate pair", "systemctl start --no-block muster-cluster.target"}
	if d := cmp.Diff(want, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if r.Phase != PhaseCluster || r.Serial != "DATA-1" || r.Meta != "0000000000001111" || r.Carries != "" {
		t.Errorf("%+v", r)
	}
}

func TestOutdateThatFailsKeepsItFromStarting(t *testing.T) {
	h := newHalf(t)
	h.known()
	h.server.orders.Outdated, h.server.orders.Start = true, true
	adm := h.f.programs["drbdadm"]
	code := 1
	h.f.program("drbdadm", func(args []string) (string, error) {
		if args[0] == "outdate" {
			return "", &ExitError{Command: "drbdadm outdate", Code: code}
		}
		return adm(args)
	})
	if r := h.settle(); r.Phase == PhaseCluster || !strings.Contains(strings.Join(r.Errors, ""), "exit 1") {
		t.Errorf("%+v", r)
	}
	code = 5 // its data are not even whole
	if r := h.settle(); r.Phase != PhaseCluster || len(r.Errors) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestNoVoteKeepsNothingBack(t *testing.T) {
	h := newHalf(t)
	h.known()
	h.drbd.up = inSync
	h.server.fails[OpVote] = errors.New("no qnetd")
	h.server.orders.Start = true
	r := h.settle()
	if r.Phase != PhaseCluster || !slices.Equal(r.Errors, []string{"third vote: no qnetd"}) {
		t.Errorf("%+v", r)
	}
	h.f.did()
	delete(h.server.fails, OpVote)
	h.server.vote = Vote{Bundle: []byte("p12"), Password: "secret"}
	h.last = nil
	if r = h.settle(); len(r.Errors) > 0 {
		t.Errorf("%+v", r)
	}
	did := h.f.did()
	if !slices.Contains(did, "systemctl restart --no-block corosync-qdevice.service") || !slices.Contains(did, "certutil -N -d sql:"+nssDir+" -f "+nssDir+"/pwdfile.txt") {
		t.Errorf("it did %q", did)
	}
	if got := h.f.read(nssDir+"/bundle.p12") + h.f.read(nssDir+"/bundle.pw"); got != "" {
		t.Errorf("it left %q", got)
	}
}

func TestPromoteOnce(t *testing.T) {
	for _, started := range []bool{false, true} {
		h := newHalf(t)
		h.drbd.up = loneState
		if started {
			h.started(loneState)
		} else {
			h.known()
		}
		h.settle()
		h.f.did()
		h.server.orders.Promote = "2026-03-01T12:00:00Z"
		h.settle()
		want := []string{"drbdadm primary --force pair", "drbdadm secondary pair"}
		if d := cmp.Diff(want, h.drbdDid()); d != "" {
			t.Errorf("started %v: -want +got:\n%s", started, d)
		}
		if h.drbd.disk != "UpToDate" || h.drbd.role != "Secondary" {
			t.Errorf("it is %+v", h.drbd.drbd)
		}
		h.drbd.set(loneState)
		h.restart()
		h.settle()
		if d := h.drbdDid(); len(d) > 0 {
			t.Errorf("started %v: again: %q", started, d)
		}
		h.server.orders.Promote = "2026-03-01T13:00:00Z"
		h.settle()
		if d := cmp.Diff(want, h.drbdDid()); d != "" {
			t.Errorf("another decision: -want +got:\n%s", d)
		}
	}
}

// One that talks to nobody, without a split, connects first; where nobody answers its data count.
func TestPromoteStandAlone(t *testing.T) {
	h := newHalf(t)
	s := loneState
	s.connection = "StandAlone"
	h.started(s)
	h.server.orders.Promote = "1"
	h.settle()
	if d := cmp.Diff([]string{"drbdadm connect pair", "drbdadm primary --force pair", "drbdadm secondary pair"}, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	h.drbd.set(s)
	h.settle()
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("again: %q", d)
	}
	// The peer answers: it has all of them.
	h = newHalf(t)
	h.started(s)
	h.server.orders.Promote = "1"
	h.step()
	h.drbd.set(inSync)
	h.settle()
	if d := cmp.Diff([]string{"drbdadm connect pair"}, h.drbdDid()); d != "" {
		t.Errorf("the peer is there: -want +got:\n%s", d)
	}
}

func TestPromoteNeedsWholeData(t *testing.T) {
	h := newHalf(t)
	s := loneState
	s.disk = "Inconsistent"
	h.started(s)
	h.server.orders.Promote = "1"
	r := h.settle()
	if d := h.drbdDid(); len(d) > 0 || !strings.Contains(strings.Join(r.Errors, ""), "nothing whole") {
		t.Errorf("%q, %q", d, r.Errors)
	}
}

func TestSplit(t *testing.T) {
	h := newHalf(t)
	alone := drbd{connection: "StandAlone", role: "Secondary", peerRole: "Unknown", disk: "UpToDate", peerDisk: "DUnknown"}
	h.started(alone)
	if r := h.settle(); r.Split {
		t.Error("a split that the kernel did not speak of")
	}
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("it did %q", d)
	}
	h.f.file("/dev/kmsg", "3,1,2,-;block drbd0: Split-Brain detected but unresolved, dropping connection!\n")
	if r := h.look(t.Context()); !r.Split {
		t.Error("no split")
	}
	h.settle()
	if d := cmp.Diff([]string{"drbdadm connect pair"}, h.drbdDid()); d != "" {
		t.Errorf("without a decision it only connects: -want +got:\n%s", d)
	}
	if r := h.settle(); !r.Split || len(h.drbdDid()) > 0 {
		t.Error("it is over, or done again at once")
	}

	h.server.orders.Discard = true
	alone.role = "Primary"
	h.drbd.set(alone)
	h.last = nil
	if r := h.settle(); !strings.Contains(strings.Join(r.Errors, ""), "active") || len(h.drbdDid()) > 0 {
		t.Errorf("an active half: %+v", r)
	}
	alone.role = "Secondary"
	h.drbd.set(alone)
	r := h.settle()
	if d := cmp.Diff([]string{"drbdadm -- --discard-my-data connect pair"}, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if r.Split || r.Connection != "SyncTarget" {
		t.Errorf("%+v", r)
	}
}

func TestVerify(t *testing.T) {
	h := newHalf(t)
	s := inSync
	h.started(s)
	h.server.orders.Verify = "v1"
	if r := h.settle(); r.Connection != "VerifyS" || r.Verify != "" {
		t.Errorf("%+v", r)
	}
	s.outOfSync = 12
	h.drbd.set(s)
	if r := h.settle(); !strings.HasSuffix(r.Verify, ": 12 KiB differ") {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff([]string{"drbdadm verify pair"}, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	h.server.orders.Verify = "v2"
	h.settle()
	s.outOfSync = 0
	h.drbd.set(s)
	if r := h.settle(); !strings.HasSuffix(r.Verify, ": no differences") {
		t.Errorf("%+v", r)
	}
}

const nodesXML = `<pacemaker-result api-version="2.25"><nodes>
<node name="storage-02" id="2" online="true" standby="false"/>
<node name="storage-01" id="1" online="true" standby="%s" standby_onfail="false"/></nodes></pacemaker-result>`

func TestMaintenance(t *testing.T) {
	h := newHalf(t)
	h.started(inSync)
	standby := "false"
	h.f.program("crm_mon", func([]string) (string, error) { return strings.Replace(nodesXML, "%s", standby, 1), nil })
	h.f.program("corosync-quorumtool", func([]string) (string, error) { return quorumWhole, nil })
	if r := h.settle(); !r.Joined || !r.Quorate || !r.QDevice || r.Standby {
		t.Errorf("%+v", r)
	}
	h.f.program("crm_attribute", func([]string) (string, error) { standby = "true"; return "", nil })
	h.server.orders.Standby = true
	if r := h.settle(); !r.Standby {
		t.Errorf("%+v", r)
	}
	if !slices.Contains(h.f.did(), "crm_attribute --node storage-01 --name standby --lifetime forever --update on") {
		t.Error("Pacemaker was not told")
	}
}

func TestServerAway(t *testing.T) {
	h := newHalf(t)
	h.started(inSync)
	h.settle()
	h.f.did()
	h.server.fails[OpReport] = errors.New("no answer in time")
	h.server.orders.Promote = "x"
	for range 3 {
		h.step()
	}
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("it did %q", d)
	}
	if n := strings.Count(h.said.String(), "no answer in time"); n != 1 {
		t.Errorf("it said so %d times", n)
	}
}

const quorumWhole = `Quorum information
------------------
Date:             Wed Mar 26 13:51:33 2025
Quorum provider:  corosync_votequorum
Nodes:            2
Node ID:          2
Ring ID:          1.16
Quorate:          Yes

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      3
Quorum:           2
Flags:            Quorate Qdevice

Membership information
----------------------
    Nodeid      Votes    Qdevice Name
         1          1    A,V,NMW storage-01
         2          1    A,V,NMW storage-02 (local)
         0          1            Qdevice
`
