package pair

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const drbdSyncing = `version: 8.4.11 (api:1/proto:86-101)
srcversion: A5C4D2B6E4C6F2A0D7A1B3C
 0: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----
    ns:0 nr:1234 dw:1234 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:417792
	[=====>..............] sync'ed: 32.9% (417792/622592)K
	finish: 1:01:21 speed: 12,345 (10,000) want: 20,000 K/sec
 1: cs:StandAlone ro:Primary/Unknown ds:Failed/DUnknown   r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:1
`

func TestParseDRBD(t *testing.T) {
	tests := map[string]drbd{
		"": {},
		"version: 8.4.11 (api:1/proto:86-101)\n 0: cs:Unconfigured\n": {},
		drbdSyncing: {
			connection: "SyncTarget", role: "Secondary", peerRole: "Primary", disk: "Inconsistent", peerDisk: "UpToDate",
			synced: 32.9, left: 3681, outOfSync: 417792,
		},
		" 0: cs:VerifyS ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n\t[>....] verified:  7.3% (436/648)M\n\tfinish: 0:00:09 speed: 1 K/sec\n": {
			connection: "VerifyS", role: "Primary", peerRole: "Secondary", disk: "UpToDate", peerDisk: "UpToDate", synced: 7.3, left: 9,
		},
		" 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   s-----\n": { // without a protocol
			connection: "StandAlone", role: "Primary", peerRole: "Unknown", disk: "UpToDate", peerDisk: "DUnknown", frozen: true,
		},
		" 0: cs:WFConnection ro:Secondary/Unknown ds:Diskless/DUnknown C r-----\n": {
			connection: "WFConnection", role: "Secondary", peerRole: "Unknown", disk: "Diskless", peerDisk: "DUnknown",
		},
	}
	for text, want := range tests {
		if d := cmp.Diff(want, parseDRBD(text), cmp.AllowUnexported(drbd{})); d != "" {
			t.Errorf("%s: -want +got:\n%s", text, d)
		}
	}
	if s := parseDRBD(drbdSyncing); !s.attached() || !s.connected() || s.verifying() {
		t.Errorf("%+v", s)
	}
	if s := (drbd{connection: "WFConnection", disk: "Diskless"}); s.attached() || s.connected() || !s.configured() {
		t.Errorf("%+v", s)
	}
}

func TestParseQuorum(t *testing.T) {
	if c := parseQuorum(quorumWhole); !c.quorate || !c.qdevice {
		t.Errorf("whole: %+v", c)
	}
	away := strings.Replace(quorumWhole, "0          1            Qdevice", "0x00000000          0            Qdevice", 1)
	if c := parseQuorum(away); !c.quorate || c.qdevice {
		t.Errorf("without the third vote: %+v", c)
	}
	lost := strings.NewReplacer("Quorate:          Yes", "Quorate:          No", "Flags:            Quorate Qdevice", "Flags:            Qdevice").Replace(quorumWhole)
	if c := parseQuorum(lost); c.quorate {
		t.Errorf("without quorum: %+v", c)
	}
	if c := parseQuorum("Cannot initialize QUORUM service\n"); c != (cluster{}) {
		t.Errorf("no corosync: %+v", c)
	}
}

func TestParseNodes(t *testing.T) {
	xml := strings.Replace(nodesXML, "%s", "true", 1)
	if online, standby := parseNodes(xml, "storage-01"); !online || !standby {
		t.Errorf("storage-01: %v %v", online, standby)
	}
	if online, standby := parseNodes(xml, "storage-02"); !online || standby {
		t.Errorf("storage-02: %v %v", online, standby)
	}
	joining := `<nodes><node name="storage-01" online="true" standby="true" standby_onfail="false" maintenance="false" pending="true"/></nodes>`
	if _, standby := parseNodes(joining, "storage-01"); standby {
		t.Error("one that is joining is out of service")
	}
	if online, _ := parseNodes(xml, "storage"); online {
		t.Error("a node that there is not is online")
	}
}

func FuzzParseDRBD(f *testing.F) {
	f.Add(drbdSyncing)
	f.Add(" 0: cs: ro:/ ds:/ oos:-1\n finish: 99999999999:1:1 sync'ed: NaN%")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseDRBD(text)
		if d.left < 0 || d.outOfSync < 0 || !(d.synced >= 0 && d.synced <= 100) {
			t.Errorf("%+v", d)
		}
		if (d.connected() || d.verifying()) && !d.configured() {
			t.Errorf("%+v", d)
		}
	})
}

func FuzzParseQuorum(f *testing.F) {
	f.Add(quorumWhole)
	f.Add(nodesXML)
	f.Fuzz(func(t *testing.T, text string) {
		if c := parseQuorum(text); c.qdevice && !strings.Contains(text, "Qdevice") || c.quorate && !strings.Contains(text, "Quorate") {
			t.Errorf("%+v", c)
		}
		if online, _ := parseNodes(text, "storage-01"); online && !strings.Contains(text, `name="storage-01"`) {
			t.Error("online out of nothing")
		}
	})
}

func FuzzFenceRequest(f *testing.F) {
	f.Add("action=off\nport=storage-02\n")
	f.Add("=\n#\naction")
	f.Fuzz(func(t *testing.T, text string) {
		action, plug := fenceRequest(nil, strings.NewReader(text))
		if action != strings.ToLower(action) || strings.ContainsAny(action+plug, "\n") {
			t.Errorf("%q %q", action, plug)
		}
	})
}

func FuzzParseMounts(f *testing.F) {
	f.Add("/dev/drbd0 /srv/pair ext4 rw,noatime 0 0\nx /a\\040b tmpfs ro 0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMounts(text) {
			if m.source == "" || m.fstype == "" {
				t.Errorf("%+v", m)
			}
		}
	})
}

func FuzzParseSignatures(f *testing.F) {
	f.Add(`{"signatures":[{"type":"gpt","label":null}]}`, true)
	f.Fuzz(func(t *testing.T, text string, drbd bool) {
		found, err := parseSignatures(text, drbd)
		if err != nil && found != nil {
			t.Errorf("%q, %v", found, err)
		}
	})
}
