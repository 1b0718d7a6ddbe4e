package roles_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

func TestDiskRefused(t *testing.T) {
	p := newPairRack(t)
	p.boot(st1)
	full := blank("DATA-1")
	full.Carries = "a partition table (gpt)"
	o := p.says(st1, full)
	const command = "muster storage claim storage-01 --disk DATA-1 --erase"
	if o.Make != "" || o.Erase != "" || !strings.Contains(o.Wait, "carries a partition table (gpt) and is not touched") || !strings.HasSuffix(o.Wait, command) {
		t.Fatalf("orders %+v", o)
	}
	p.wantTold(command)
	before := p.Revision()
	p.says(st1, full)
	if p.Revision() != before {
		t.Error("a refusal is told twice")
	}
	if v := p.pair(); !strings.Contains(strings.Join(v.Alerts, "\n"), command) || !strings.Contains(v.Why, command) {
		t.Errorf("pair %+v", v)
	}
	for _, disk := range []string{"DATA-2", ""} {
		if _, err := p.ClaimDisk(t.Context(), "storage-01", disk); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("claim of %q: %v", disk, err)
		}
	}
	if _, err := p.ClaimDisk(t.Context(), "web-01", "DATA-1"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("claim for a web machine: %v", err)
	}
	if _, err := p.ClaimDisk(t.Context(), "storage-01", "/dev/vdb"); err != nil {
		t.Fatal(err)
	}
	p.wantTold("gave the disk DATA-1 of storage-01 to the pair")
	if o = p.says(st1, full); o.Erase != "DATA-1" || o.Make != "" {
		t.Fatalf("orders %+v", o)
	}
	if o = p.says(st1, blank("DATA-1")); o.Erase != "" || o.Make != "DATA-1" {
		t.Fatalf("orders of the erased disk %+v", o)
	}
	p.says(st1, ready("DATA-1", "m1"))
	if v := p.pair(); len(v.Claims) != 0 || v.Disks["storage-01"].Meta != "m1" {
		t.Errorf("pair %+v", v.Pair)
	}
	// What an operator gave once is not erased when it carries something again.
	if o = p.says(st1, full); o.Erase != "" || o.Make != "" {
		t.Errorf("orders %+v", o)
	}
}

// gone lets the second machine be away, and the first be active alone.
func (p *pairRack) goneTwo() {
	p.t.Helper()
	p.rack.power("storage-02", roles.PowerOff)
	p.now = p.now.Add(15 * time.Second)
	p.says(st1, p.alone("DATA-1", "m1"))
}

func (p *pairRack) alone(serial, meta string) roles.Half {
	h := cluster(serial, meta, true)
	h.Connection, h.PeerDisk = "WFConnection", "Outdated"
	return h
}

func TestReplacedDisk(t *testing.T) {
	p := wholePair(t)
	p.goneTwo()
	p.boot(st2)
	p.says(st1, p.alone("DATA-1", "m1"))
	if o := p.says(st2, blank("DATA-9")); o.Make != "DATA-9" {
		t.Fatalf("orders %+v", o)
	}
	p.says(st2, ready("DATA-9", "m9"))
	v := p.pair()
	if d := v.Disks["storage-02"]; d.Serial != "DATA-9" || d.Meta != "m9" || d.Whole {
		t.Errorf("disk %+v", d)
	}
	sync := cluster("DATA-9", "m9", false)
	sync.DiskState, sync.Connection, sync.Synced, sync.Left = "Inconsistent", "SyncTarget", 43.2, 125
	p.says(st2, sync)
	if v := p.pair(); v.State != roles.PairDegraded || v.Why != "storage-02 is syncing, 43 %, 2 minutes left" {
		t.Errorf("pair is %s: %s", v.State, v.Why)
	}
	// Its data are not complete: it may neither say that the other's are older, nor go on alone.
	if err := p.PairOutdate(t.Context(), st2, key(p.keys[st2])); !errors.Is(err, fs.ErrExist) {
		t.Errorf("outdate: %v", err)
	}
	p.now = p.now.Add(15 * time.Second)
	p.says(st2, sync)
	web, _ := p.Pool("web")
	if got := p.Stored(web.Pool, ""); got != "waits for storage: storage-02 is syncing, 43 %, 2 minutes left" {
		t.Errorf("stored: %q", got)
	}
	if _, err := p.PromoteHalf(t.Context(), "storage-02", true); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("promote: %v", err)
	}
	p.says(st1, cluster("DATA-1", "m1", true))
	p.says(st2, cluster("DATA-9", "m9", false))
	if v := p.pair(); v.State != roles.PairWhole || !v.Disks["storage-02"].Whole {
		t.Errorf("pair %+v", v)
	}
	p.wantTold("replaces DATA-2 in storage-02", "the sync is finished")
	// The disk that was replaced is a stranger now.
	p.boot(st2)
	if o := p.says(st2, ready("DATA-2", "m2")); o.Start || o.Make != "" || !strings.Contains(o.Wait, "another DRBD resource") {
		t.Errorf("orders of the old disk: %+v", o)
	}
}

// A blank disk is not taken while that could cost the data.
func TestBlankDiskWaits(t *testing.T) {
	refused := func(t *testing.T, p *pairRack, h roles.Half, words string) {
		t.Helper()
		before := p.pair().Disks["storage-02"]
		if o := p.says(st2, h); o.Make != "" || o.Erase != "" || o.Start || !strings.Contains(o.Wait, words) {
			t.Errorf("orders %+v, want a sentence with %q", o, words)
		}
		if after := p.pair().Disks["storage-02"]; after != before {
			t.Errorf("the disk %+v is forgotten: %+v", before, after)
		}
	}
	p := wholePair(t)
	p.goneTwo()
	p.boot(st2)
	refused(t, p, blank("DATA-2"), "its metadata are gone")
	q := wholePair(t)
	q.goneTwo()
	q.boot(st2)
	q.says(st1, q.alone("DATA-1", "m1"))
	q.says(st2, blank("DATA-2"))
	if _, err := q.ClaimDisk(t.Context(), "storage-02", "DATA-2"); err != nil {
		t.Error(err)
	}
	if o := q.says(st2, blank("DATA-2")); o.Make != "DATA-2" || q.pair().Disks["storage-02"].Whole {
		t.Errorf("orders after the claim %+v", o)
	}
	p.now = p.now.Add(15 * time.Second)
	refused(t, p, blank("DATA-9"), "waits for storage-01, which has the data")

	p = wholePair(t)
	if err := p.PairOutdate(t.Context(), st2, key(p.keys[st2])); err != nil {
		t.Fatal(err)
	}
	p.boot(st2) // it had the newest, and comes back without
	p.says(st1, ready("DATA-1", "m1"))
	refused(t, p, blank("DATA-9"), "the data of storage-01 are not the newest")
	bad := ready("DATA-1", "m1")
	bad.DiskState = "Diskless"
	p = wholePair(t)
	p.boot(st2)
	p.says(st1, bad)
	refused(t, p, blank("DATA-9"), "is Diskless")
	p.says(st1, bad)
	if _, err := p.ClaimDisk(t.Context(), "storage-02", "DATA-9"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("claim: %v", err)
	}
}

func TestSwappedDisks(t *testing.T) {
	p := wholePair(t)
	if err := p.PairOutdate(t.Context(), st1, key(p.keys[st1])); err != nil {
		t.Fatal(err)
	}
	p.tick(20 * time.Second)
	p.boot(st1)
	p.boot(st2)
	state := ready("DATA-2", "m2")
	state.Connection, state.DiskState = "", ""
	if o := p.says(st1, state); o.Known == "m2" || !strings.Contains(o.Wait, "known as that of storage-02") {
		t.Errorf("before the other is heard: %+v", o)
	}
	state.Serial, state.Meta = "DATA-1", "m1"
	if o := p.says(st2, state); o.Known != "m1" || o.Outdated {
		t.Errorf("the one with the newest data: %+v", o)
	}
	state.Serial, state.Meta = "DATA-2", "m2"
	if o := p.says(st1, state); o.Known != "m2" || !o.Outdated || !o.Start {
		t.Errorf("the outdated disk moved: %+v", o)
	}
	// One that is there twice is a copy.
	p.boot(st1)
	state.Serial, state.Meta = "DATA-7", "m1"
	if o := p.says(st1, state); o.Known == "m1" || o.Start || !strings.Contains(o.Wait, "one of the two is a copy") {
		t.Errorf("a copy: %+v", o)
	}
}

// A half that could not look at its disk does not say that nothing is on it: what turns up there later is not what
// was made of it, and a known disk is not to be given up for that.
func TestDiskUnreadable(t *testing.T) {
	held := blank("DATA-1")
	held.Phase, held.Why = roles.PhaseRefused, "/dev/vdb is not the pair's: vdb is held open"
	p := newPairRack(t)
	p.boot(st1)
	before := p.Revision()
	p.says(st1, held)
	if p.wantTold("held open"); p.Revision() == before {
		t.Error("nothing is told")
	}
	before = p.Revision()
	if p.says(st1, held); p.Revision() != before {
		t.Error("it is told twice")
	}
	if o := p.says(st1, held); o.Make != "" || len(p.pair().Disks) != 0 {
		t.Errorf("metadata are to be made on a disk that was not read: %+v, %+v", o, p.pair().Disks)
	}
	if _, err := p.ClaimDisk(t.Context(), "storage-01", "DATA-1"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "held open") {
		t.Errorf("claim: %v", err)
	}
	foreign := ready("DATA-1", "beef")
	foreign.Phase, foreign.DiskState, foreign.Connection = roles.PhaseDisk, "", ""
	if o := p.says(st1, foreign); o.Known != "" || !strings.Contains(o.Wait, "another DRBD resource") {
		t.Errorf("another pair's disk is taken: %+v", o)
	}
	p = wholePair(t)
	p.goneTwo()
	p.boot(st2)
	p.says(st1, p.alone("DATA-1", "m1"))
	held.Serial = "DATA-2"
	if o := p.says(st2, held); o.Wait != "" {
		t.Errorf("its own disk: %+v", o)
	}
	if v := p.pair(); !strings.Contains(strings.Join(v.Alerts, "\n"), "held open") || v.Disks["storage-02"].Meta != "m2" {
		t.Errorf("pair %+v", v)
	}
}

// A copy of the other half's disk can be given, and is erased only while the other one has the data.
func TestClaimedCopy(t *testing.T) {
	p := wholePair(t)
	p.goneTwo()
	p.boot(st2)
	p.says(st1, p.alone("DATA-1", "m1"))
	clone := ready("DATA-7", "m1")
	clone.Phase, clone.DiskState, clone.Connection = roles.PhaseDisk, "", ""
	if o := p.says(st2, clone); !strings.HasSuffix(o.Wait, "muster storage claim storage-02 --disk DATA-7 --erase") {
		t.Fatalf("orders %+v", o)
	}
	if _, err := p.ClaimDisk(t.Context(), "storage-02", "DATA-7"); err != nil {
		t.Fatal(err)
	}
	if o := p.says(st2, clone); o.Erase != "DATA-7" {
		t.Errorf("orders %+v", o)
	}
	p.now = p.now.Add(2 * time.Minute) // the other one dies
	if o := p.says(st2, clone); o.Erase != "" || o.Known == "m1" || !strings.Contains(o.Wait, "waits for storage-01, which has the data") {
		t.Errorf("orders without the other: %+v", o)
	}
	if p.pair().Disks["storage-01"].Meta != "m1" {
		t.Errorf("disks %+v", p.pair().Disks)
	}
}

// A disk without a serial number is known by its device, which is another one's after the machine was restarted.
func TestClaimWithoutSerial(t *testing.T) {
	p := newPairRack(t)
	p.boot(st1)
	given := blank("/dev/vdb")
	given.Carries = "a file system (ext4)"
	p.says(st1, given)
	if _, err := p.ClaimDisk(t.Context(), "storage-01", "/dev/vdb"); err != nil {
		t.Fatal(err)
	}
	p.boot(st1)
	for name, change := range map[string]func(*roles.Half){
		"another size":       func(h *roles.Half) { h.Size *= 2 },
		"another content":    func(h *roles.Half) { h.Carries = `a file system (ext4) labelled "mail"` },
		"another pair's":     func(h *roles.Half) { h.Carries, h.Meta = "", "beef" },
		"with serial number": func(h *roles.Half) { h.Serial = "WD-1" },
	} {
		other := given
		change(&other)
		if o := p.says(st1, other); o.Erase != "" || !strings.Contains(o.Wait, "is not touched") {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if o := p.says(st1, given); o.Erase != "/dev/vdb" {
		t.Errorf("the one that was given: %+v", o)
	}
	if o := p.says(st1, blank("/dev/vdb")); o.Make != "/dev/vdb" || len(p.pair().Claims) != 0 {
		t.Errorf("once erased: %+v, %+v", o, p.pair().Claims)
	}
}

// A disk calls itself what it likes, and people copy the command.
func TestClaimCommand(t *testing.T) {
	p := newPairRack(t)
	p.boot(st1)
	odd := blank("x; reboot 'now'")
	odd.Carries = "swap space"
	const want = `--disk 'x; reboot '\''now'\''' --erase`
	if o := p.says(st1, odd); !strings.HasSuffix(o.Wait, want) {
		t.Errorf("it says %q, want %q", o.Wait, want)
	}
}
