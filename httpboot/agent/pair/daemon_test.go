package pair

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testDisk = 64 << 20

// drbdDid gives what DRBD and systemd were told.
func (h *half) drbdDid() []string {
	return slices.DeleteFunc(h.f.did(), func(s string) bool {
		return !strings.HasPrefix(s, "drbdadm") && !strings.HasPrefix(s, "systemctl") && !strings.HasPrefix(s, "mkfs")
	})
}

func TestNewPair(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "SYSTEM-1", testDisk)
	h.f.disk("vdb", "data-1", testDisk)
	if r := h.look(t.Context()); r.Phase != PhaseDisk || r.Disk != "" {
		t.Errorf("before any server spoke: %+v", r)
	}
	r := h.settle()
	if r.Phase != PhaseDisk || r.Serial != "data-1" || r.Size != testDisk || r.Meta != "" || r.Carries != "" {
		t.Errorf("a blank disk: %+v", r)
	}
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("without an order it did %q", d)
	}

	h.server.orders.Make = "data-1"
	if r = h.step(); r.Meta != "0000000000001111" || r.Phase == PhaseReady {
		t.Errorf("with metadata: %+v", r)
	}
	h.server.orders.Make, h.server.orders.Known = "", r.Meta
	if r = h.settle(); r.Phase != PhaseReady || r.Connection != "Connected" || r.DiskState != "Inconsistent" {
		t.Errorf("attached: %+v", r)
	}
	want := []string{"drbdadm create-md --force pair", "drbdadm up pair"}
	if d := cmp.Diff(want, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}

	h.server.orders.Format = true
	h.server.fails[OpMade] = errors.New("no server")
	if r = h.step(); !strings.Contains(strings.Join(r.Errors, " "), "has not noted") {
		t.Errorf("made, and nobody heard it: %+v", r)
	}
	delete(h.server.fails, OpMade)
	h.step()
	if !slices.Contains(h.server.ops, OpMade) {
		t.Errorf("the server was not told: %q", h.server.ops)
	}
	got := h.drbdDid()
	mkfs := "mkfs.ext4 -q -F -L muster-pair -m 1 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/drbd0"
	want = []string{
		"drbdadm -- --clear-bitmap new-current-uuid pair", "drbdadm primary pair", mkfs, "drbdadm secondary pair",
		"drbdadm primary pair", mkfs, "drbdadm secondary pair",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if _, ok := h.machine.mounted(Volume); ok {
		t.Error("the volume is still mounted")
	}

	h.server.orders.Format, h.server.orders.Start = false, true
	if r = h.step(); r.Phase != PhaseCluster {
		t.Errorf("started: %+v", r)
	}
	want = []string{"drbdadm down pair", "systemctl start --no-block muster-cluster.target"}
	if d := cmp.Diff(want, h.drbdDid()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestBetweenMetadataAndReport(t *testing.T) {
	h := newHalf(t)
	h.f.disk("vdb", "DATA-1", testDisk)
	h.server.orders.Make = "DATA-1"
	h.settle()
	h.server.reports = nil
	// The daemon dies before it could report; the server still has only the serial number.
	h.restart()
	r := h.settle()
	if r.Meta == "" || r.Carries != "" || r.Phase != PhaseDisk {
		t.Errorf("after a crash: %+v", r)
	}
	n := 0
	for _, s := range h.f.did() {
		if strings.HasPrefix(s, "drbdadm create-md") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("metadata were made %d times", n)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name  string
		setUp func(h *half)
		want  string
	}{
		{"none", func(h *half) {}, "no disk at all"},
		{"other", func(h *half) { h.f.disk("sda", "SYSTEM", testDisk) }, "no disk fits the rule (serial DATA-*); there are: /dev/sda"},
		{"two", func(h *half) { h.f.disk("sda", "DATA-1", testDisk); h.f.disk("sdb", "data-2", testDisk) }, "2 disks fit the rule"},
		{"mounted", func(h *half) { h.f.disk("sda", "DATA-1", testDisk); h.f.addMount("/dev/sda /srv ext4 rw") }, "sda is mounted on /srv"},
		{"held", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.dir("/sys/block/sda/sda1/holders/md0")
		}, "sda1 is in use by md0"},
		{"open", func(h *half) { h.f.disk("sda", "DATA-1", testDisk); h.f.broken["/dev/sda"] = errors.New("busy") }, "held open"},
		{"unknown data", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.poke("sda", endSize-1)
		}, "something unknown (its first MiB is not empty)"},
		{"data at the end", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.poke("sda", testDisk-1)
		}, "its last MiB is not empty"},
		{"file system", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.program("wipefs", func([]string) (string, error) {
				return `{"signatures":[{"type":"ext4","label":"home"},{"type":"dos","label":null}]}`, nil
			})
		}, `carries a file system (ext4) labelled "home", a partition table (dos); nothing is written to it. If all of that may go: muster storage claim storage-01 --disk DATA-1 --erase`},
		{"unreadable", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.program("wipefs", func([]string) (string, error) { return "", errors.New("I/O error") })
		}, "I/O error"},
		{"another pair's", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.meta("sda", 0x2222, metaMagicDirty)
			h.server.orders.Known = "0000000000001111"
		}, "DRBD metadata of another pair"},
		{"DRBD 9", func(h *half) {
			h.f.disk("sda", "DATA-1", testDisk)
			h.f.meta("sda", 0x2222, metaMagic9)
		}, "its last MiB is not empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHalf(t)
			tt.setUp(h)
			h.server.orders.Make = "DATA-1" // which is no reason
			r := h.settle()
			if r.Phase != PhaseRefused || !strings.Contains(r.Why, tt.want) {
				t.Errorf("phase %s: %s; want %q", r.Phase, r.Why, tt.want)
			}
			if h.step(); h.Healthy() == "" {
				t.Error("it says that it is well")
			}
			if d := h.drbdDid(); len(d) > 0 {
				t.Errorf("it did %q", d)
			}
		})
	}
}

func TestClaim(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "DATA-1", testDisk)
	h.f.poke("sda", 4096)
	h.f.poke("sda", testDisk-100)
	h.server.orders.Erase = "DATA-2"
	if r := h.settle(); r.Phase != PhaseRefused {
		t.Errorf("another disk was given: %+v", r)
	}
	h.server.orders.Erase = "DATA-1"
	if r := h.settle(); r.Phase != PhaseDisk || r.Carries != "" {
		t.Errorf("erased: %+v", r)
	}
	if !slices.Contains(h.f.did(), "wipefs --all --force /dev/sda") {
		t.Error("no signatures were wiped")
	}
}

func TestOwnDiskIsNeverErased(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "DATA-1", testDisk)
	h.f.meta("sda", 0x1111, metaMagic)
	h.drbd.up = drbd{}
	h.f.poke("sda", 0)
	h.server.orders.Known, h.server.orders.Erase, h.server.orders.Make = "0000000000001111", "DATA-1", "DATA-1"
	h.step()
	r := h.step()
	if !strings.Contains(strings.Join(r.Errors, ""), "the pair's own") || r.Meta == "" {
		t.Errorf("%+v", r)
	}
	for _, s := range h.f.did() {
		if strings.Contains(s, "--all") || strings.Contains(s, "create-md") {
			t.Errorf("it did %q", s)
		}
	}
}

func TestMakeIsForOneDisk(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "DATA-1", testDisk)
	h.server.orders.Make = "DATA-2"
	h.settle()
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("it did %q", d)
	}
}

// A disk that is changed between the report and the order must not get metadata.
func TestMakeLooksAgain(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "DATA-1", testDisk)
	h.step()
	h.f.poke("sda", 100)
	o := h.server.orders
	o.Make = "DATA-1"
	if done, err := h.makeMeta(t.Context(), o, Report{}); done || err == nil || !strings.Contains(err.Error(), "not blank any more") {
		t.Errorf("done %v, %v", done, err)
	}
	if d := h.drbdDid(); len(d) > 0 {
		t.Errorf("it did %q", d)
	}
}

func TestServed(t *testing.T) {
	h := newHalf(t)
	h.f.file(servedFile, "") // the fake's volume is always there
	h.f.program("blkid", func(args []string) (string, error) { return label, nil })
	h.drbd.set(inSync)
	if _, err := h.format(t.Context(), Orders{Format: true}, Report{}); err == nil || !strings.Contains(err.Error(), "has been served") {
		t.Errorf("format: %v", err)
	}
	if h.drbd.role != "Secondary" {
		t.Errorf("it stays %s", h.drbd.role)
	}
	for _, s := range h.f.did() {
		if strings.HasPrefix(s, "mkfs") {
			t.Errorf("it did %q", s)
		}
	}
}

// A disk that is another one since the last look is not the one that was given.
func TestEraseLooksAgain(t *testing.T) {
	h := newHalf(t)
	h.f.disk("sda", "DATA-1", testDisk)
	h.f.poke("sda", 100)
	h.step()
	h.f.disk("sda", "DATA-7", testDisk)
	h.f.poke("sda", 200)
	o := h.server.orders
	o.Erase = "DATA-1"
	if done, err := h.eraseDisk(t.Context(), o, Report{}); done || err == nil {
		t.Errorf("done %v, %v", done, err)
	}
	if did := h.f.did(); slices.ContainsFunc(did, func(s string) bool { return strings.Contains(s, "--all") }) {
		t.Errorf("it did %q", did)
	}
}

// A machine that has just started may not show its disks yet: nobody is alarmed.
func TestDiskThatComesLate(t *testing.T) {
	h := newHalf(t)
	h.began = time.Now()
	if r := h.settle(); r.Phase != PhaseDisk || r.Why != "waits for its disk: the machine shows no disk at all" {
		t.Errorf("at its start: %+v", r)
	}
	h.f.disk("sda", "OTHER", 1<<30)
	if r := h.settle(); r.Phase != PhaseDisk || !strings.Contains(r.Why, "no disk fits") {
		t.Errorf("with another disk: %+v", r)
	}
	h.began = h.began.Add(-diskTime)
	if r := h.settle(); r.Phase != PhaseRefused || !strings.HasPrefix(r.Why, "no disk fits") {
		t.Errorf("later: %+v", r)
	}
	h.began = time.Now()
	h.f.disk("vda", "DATA-1", 1<<30)
	h.f.disk("vdb", "DATA-2", 1<<30)
	if r := h.settle(); r.Phase != PhaseRefused || !strings.HasSuffix(r.Why, "it must fit one") {
		t.Errorf("two of them do not become fewer: %+v", r)
	}
}
