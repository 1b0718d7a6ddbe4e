package pair

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestFence(t *testing.T) {
	tests := []struct {
		name, stdin string
		args        []string
		fails       map[string]error
		code        int
		ops         []string
		out, says   string
	}{
		{name: "off", stdin: "action=off\nport=storage-02\nnodename=storage-02\n", ops: []string{OpFence}},
		{name: "reboot", stdin: "nodename=storage-02\naction=reboot\n", ops: []string{OpFence}},
		{name: "refused", stdin: "action=off\nplug=storage-02\n", fails: map[string]error{OpFence: errors.New("the BMC does not answer")},
			code: 1, ops: []string{OpFence}, says: "the BMC does not answer"},
		{name: "itself", stdin: "action=off\nport=storage-01\n", code: 1, says: "storage-02 alone"},
		{name: "on", stdin: "action=on\nport=storage-02\n"},
		{name: "monitor", stdin: "# a comment=1\naction=monitor\n", ops: []string{OpTry}},
		{name: "monitor fails", stdin: "action=monitor\n", fails: map[string]error{OpTry: errors.New("no")}, code: 1, ops: []string{OpTry}, says: "no"},
		{name: "status", args: []string{"--action=status", "-n", "storage-02"}, ops: []string{OpTry}},
		{name: "list", stdin: "action=list\n", out: "storage-02,\n"},
		{name: "arguments", args: []string{"-o", "off", "-n", "storage-02"}, stdin: "action=on\n", ops: []string{OpFence}},
		{name: "nothing", code: 1, says: "no such action"},
		{name: "nonsense", stdin: "action=explode\n", code: 1, says: "no such action"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeMachine(t)
			s := &fakeServer{fails: tt.fails}
			a := &FenceAgent{Config: testConfig, Root: f.root, Server: s}
			var out, says bytes.Buffer
			code := a.Do(t.Context(), tt.args, strings.NewReader(tt.stdin), &out, &says)
			if code != tt.code || !slices.Equal(s.ops, tt.ops) || out.String() != tt.out || !strings.Contains(says.String(), tt.says) {
				t.Errorf("exit %d, operations %q, %q, %q", code, s.ops, out.String(), says.String())
			}
			if fenced := f.machine().fencedLately(); fenced != (code == 0 && slices.Contains(tt.ops, OpFence)) {
				t.Errorf("it notes that the peer was fenced: %v", fenced)
			}
		})
	}
}

func TestPeerHandler(t *testing.T) {
	away := errors.New("no answer in time")
	const both, alone, lost = "Nodes: 2\nQuorate: Yes\n", "Nodes: 1\nQuorate: Yes\n", "Nodes: 1\nQuorate: No\n"
	tests := []struct {
		name string
		err  error
		role string
		crm  error
		// quorum is what Corosync says at each look, the last of it for ever; nil for a half whose peer is gone.
		quorum []string
		setUp  func(f *fakeMachine)
		want   int
		calls  bool // crm-fence-peer.sh
		wrong  int  // how often the boot server gives err; 0 for always
	}{
		{name: "outdated", crm: &ExitError{Code: 4}, want: 4, calls: true},
		{name: "noticed late", role: "Primary", quorum: []string{both, both, both, lost, alone}, crm: &ExitError{Code: 7}, want: 7, calls: true},
		{name: "only DRBD's link", role: "Primary", quorum: []string{both}, crm: &ExitError{Code: 4}, want: 4, calls: true},
		{name: "the other side has the quorum", role: "Primary", quorum: []string{alone, lost}, want: 1},
		{name: "maintenance of the other", role: "Secondary", quorum: []string{both, lost}, crm: &ExitError{Code: 4}, want: 4, calls: true},
		{name: "no quorum for a promotion", role: "Secondary", quorum: []string{lost}, want: 1},
		{name: "before the cluster", role: "Secondary", quorum: []string{"Cannot initialize QUORUM service"}, crm: &ExitError{Code: 1}, want: 1, calls: true},
		{name: "Corosync is away", role: "Primary", quorum: []string{"Cannot initialize QUORUM service"}, want: 1, setUp: func(f *fakeMachine) { f.file(StartFile, "") }},
		{name: "fenced by Pacemaker", crm: &ExitError{Code: 7}, want: 7, calls: true},
		{name: "crm-fence-peer breaks", crm: &ExitError{Code: -1}, want: 1, calls: true},
		{name: "we are the stale ones", err: fs.ErrExist, want: 1},
		{name: "not our session at a promotion", err: fs.ErrPermission, role: "Secondary", want: 1},
		{name: "not our session, frozen", err: fs.ErrPermission, role: "Primary", want: 1},
		{name: "our session again", err: fs.ErrPermission, wrong: 5, role: "Primary", crm: &ExitError{Code: 7}, want: 7, calls: true},
		{name: "no pair for a moment", err: fs.ErrInvalid, wrong: 3, role: "Secondary", crm: &ExitError{Code: 4}, want: 4, calls: true},
		{name: "not our session, and we have switched it off", err: fs.ErrPermission, role: "Secondary", want: 1, setUp: func(f *fakeMachine) {
			(&FenceAgent{Config: testConfig, Root: f.root, Server: &fakeServer{}}).Do(t.Context(), []string{"-o", "off"}, nil, nil, nil)
		}},
		{name: "no server at a promotion", err: away, role: "Secondary", want: 1},
		{name: "no server, frozen", err: away, role: "Primary", want: 1},
		{name: "no server, and switched off just now", err: away, want: 7, calls: true, crm: &ExitError{Code: 7}, setUp: func(f *fakeMachine) {
			(&FenceAgent{Config: testConfig, Root: f.root, Server: &fakeServer{}}).Do(t.Context(), []string{"-o", "off"}, nil, nil, nil)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeMachine(t)
				d := newFakeDRBD(f)
				d.set(drbd{connection: "WFConnection", role: tt.role, disk: "UpToDate", peerDisk: "DUnknown"})
				if tt.setUp != nil {
					tt.setUp(f)
				}
				f.program("crm-fence-peer.sh", func([]string) (string, error) { return "", tt.crm })
				quorum := tt.quorum
				if quorum == nil {
					quorum = []string{alone}
				}
				f.program("corosync-quorumtool", func([]string) (string, error) {
					now := quorum[0]
					if len(quorum) > 1 {
						quorum = quorum[1:]
					}
					return now, nil
				})
				s := &fakeServer{fails: map[string]error{OpOutdate: tt.err}, times: tt.wrong}
				var says bytes.Buffer
				h := &PeerHandler{Root: f.root, System: f, Server: s, Log: &says}
				if code := h.Do(t.Context(), []string{"--timeout", "90"}, []string{"DRBD_RESOURCE=pair"}); code != tt.want {
					t.Errorf("exit %d, want %d: %s", code, tt.want, says.String())
				}
				if ran := f.did(); tt.calls != slices.Contains(ran, crmFencePeer+" --timeout 90") {
					t.Errorf("it ran %q", ran)
				}
				least, most := 1, 1
				switch {
				case tt.err == nil && !tt.calls:
					least, most = 0, 0
				case tt.wrong > 0:
					least, most = tt.wrong+1, tt.wrong+1
				case tt.err != nil && tt.role == "Primary":
					least, most = 100, 1000
				case tt.err != nil && tt.role == "Secondary":
					least, most = 5, 20
				}
				if n := len(s.ops); n < least || n > most {
					t.Errorf("it told the boot server %d times", n)
				}
				if owed := f.machine().flag(owedFile); owed != (tt.calls && tt.err == away) {
					t.Errorf("owed: %v", owed)
				}
			})
		})
	}
}

func TestOwedOutdateIsToldLater(t *testing.T) {
	h := newHalf(t)
	h.started(drbd{connection: "WFConnection", role: "Primary", peerRole: "Unknown", disk: "UpToDate", peerDisk: "Outdated"})
	h.f.file(owedFile, "")
	h.server.fails[OpOutdate] = errors.New("away")
	h.step()
	if !h.f.machine().flag(owedFile) {
		t.Error("it was forgotten")
	}
	delete(h.server.fails, OpOutdate)
	h.step()
	if h.f.machine().flag(owedFile) || !slices.Contains(h.server.ops, OpOutdate) {
		t.Errorf("it was not told: %q", h.server.ops)
	}
}
