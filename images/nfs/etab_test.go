package nfs

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeTable is a table whose commands change a file as exportfs does.
type fakeTable struct {
	exportTable
	ran  []string
	fail bool
}

func newFakeTable(t *testing.T, etab string) *fakeTable {
	t.Helper()
	dir := t.TempDir()
	f := &fakeTable{exportTable: exportTable{file: filepath.Join(dir, "exports.d", "muster.exports"), etab: filepath.Join(dir, "etab")}}
	f.exportTable.run = f.run
	if err := os.WriteFile(f.etab, []byte(etab), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fakeTable) run(_ context.Context, argv ...string) error {
	f.ran = append(f.ran, strings.Join(argv, " "))
	if f.fail {
		return errors.New("exportfs failed")
	}
	add, specs := argv[1] == "-o", argv[2:]
	options := ""
	if add {
		options, specs = argv[2], argv[3:]
	}
	b, err := os.ReadFile(f.etab)
	for _, spec := range specs {
		client, path, _ := strings.Cut(spec, ":/")
		head := "/" + path + "\t" + strings.NewReplacer("[", "", "]", "").Replace(client) + "("
		kept := ""
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, head) {
				kept += line
			}
		}
		if add {
			kept += head + options + ")\n"
		}
		b = []byte(kept)
	}
	return errors.Join(err, os.WriteFile(f.etab, b, 0o644))
}

// did compares what was run since the last time.
func (f *fakeTable) did(t *testing.T, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, f.ran); d != "" {
		t.Errorf("ran: %s", d)
	}
	f.ran = nil
}

func (f *fakeTable) has(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func optionsOf(t *testing.T, e Export) string {
	t.Helper()
	return entries([]Export{e})[0].options
}

func TestEntries(t *testing.T) {
	id := fsids(sample())
	ro := "ro,sync,no_root_squash,no_subtree_check,crossmnt,fsid=" + strconv.Itoa(int(id["/data/images"]))
	rw := "rw,sync,no_root_squash,no_subtree_check,crossmnt,fsid=" + strconv.Itoa(int(id["/data/state"]))
	want := []exportEntry{{"/data/images", rack[0], ro}, {"/data/images", rack[1], ro}, {"/data/state", rack[0], rw}}
	if d := cmp.Diff(want, entries(sample()), cmp.AllowUnexported(exportEntry{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if id["/data/images"] <= 1<<16 || int32(id["/data/images"]) < 0 || id["/data/images"] == id["/data/state"] {
		t.Errorf("fsids %v: want different ones above those that people choose, and positive", id)
	}
	v6 := exportEntry{path: "/d", client: netip.MustParsePrefix("fd00:1::/64")}
	if got := v6.spec(); got != "[fd00:1::]/64:/d" {
		t.Errorf("spec = %s", got)
	}
}

func TestTableAddsChangesAndTakesAway(t *testing.T) {
	const foreign = "/home\t10.0.0.0/8(rw,sync)\n"
	f := newFakeTable(t, foreign)
	e := Export{Path: "/data/state", Clients: rack}
	apply := func(e ...Export) {
		t.Helper()
		if err := f.apply(t.Context(), entries(e)); err != nil {
			t.Fatal(err)
		}
	}
	apply(e)
	f.did(t, "exportfs -o "+optionsOf(t, e)+" 10.77.1.0/24:/data/state 10.77.0.0/24:/data/state")
	if got := f.has(t, f.file); strings.Count(got, "/data/state 10.77.") != 2 || !strings.Contains(got, "/data/state 10.77.1.0/24("+optionsOf(t, e)+")\n") {
		t.Errorf("our file has %q", got)
	}
	apply(e)
	f.did(t)
	e.ReadOnly = true
	apply(e)
	f.did(t, "exportfs -o "+optionsOf(t, e)+" 10.77.1.0/24:/data/state 10.77.0.0/24:/data/state")
	e.Clients = rack[1:]
	apply(e)
	f.did(t, "exportfs -u 10.77.1.0/24:/data/state")
	// Somebody runs exportfs -au.
	if err := os.WriteFile(f.etab, []byte(foreign), 0o644); err != nil {
		t.Fatal(err)
	}
	if !f.lost() {
		t.Error("lost exports are not noticed")
	}
	apply(e)
	f.did(t, "exportfs -o "+optionsOf(t, e)+" 10.77.0.0/24:/data/state")
	apply()
	f.did(t, "exportfs -u 10.77.0.0/24:/data/state")
	if got := f.has(t, f.file) + f.has(t, f.etab); got != foreign || f.lost() {
		t.Errorf("at the end there is %q, want the machine's own only", got)
	}
}

func TestTableTakesOverAfterACrash(t *testing.T) {
	before := newFakeTable(t, "")
	old := []Export{{Path: "/data/images", Clients: rack[:1]}, {Path: "/data/gone", Clients: rack[:1]}}
	if err := before.apply(t.Context(), entries(old)); err != nil {
		t.Fatal(err)
	}
	f := newFakeTable(t, before.has(t, before.etab))
	f.file = before.file
	f.load()
	if err := f.apply(t.Context(), entries(old[:1])); err != nil {
		t.Fatal(err)
	}
	f.did(t, "exportfs -o "+optionsOf(t, old[0])+" 10.77.1.0/24:/data/images", "exportfs -u 10.77.1.0/24:/data/gone")
	// After a boot the machine may not have exported them again: what is not there is not taken away.
	if err := os.WriteFile(f.etab, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f.load()
	if err := f.apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.did(t)
	if got := f.has(t, f.file); got != "" {
		t.Errorf("our file is left: %q", got)
	}
}

func TestTableRefusesWhatTheMachineExports(t *testing.T) {
	for _, client := range []string{"10.77.1.0/24", "10.77.1.0/255.255.255.0"} {
		foreign := "/data/state\t" + client + "(ro)\n"
		f := newFakeTable(t, foreign)
		err := f.apply(t.Context(), entries([]Export{{Path: "/data/state", Clients: rack[:1]}, {Path: "/data/new", Clients: rack[:1]}}))
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "/data/state is exported to 10.77.1.0/24 already") {
			t.Errorf("apply = %v", err)
		}
		f.did(t)
		if got := f.has(t, f.file); got != "" {
			t.Errorf("our file has %q", got)
		}
	}
}

func TestTableTriesAgainAfterAFailure(t *testing.T) {
	f := newFakeTable(t, "")
	f.fail = true
	want := entries([]Export{{Path: "/data/state", Clients: rack[:1]}})
	if f.apply(t.Context(), want) == nil {
		t.Error("exportfs failed, and apply did not")
	}
	f.fail, f.ran = false, nil
	if err := f.apply(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	f.did(t, "exportfs -o "+want[0].options+" 10.77.1.0/24:/data/state")
}

func TestParseClient(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "10.1.2.3/255.255.0.0": "10.1.0.0/16", "fd00::/64": "fd00::/64",
		"*.example.org": "invalid Prefix", "*": "invalid Prefix", "@group": "invalid Prefix", "10.0.0.0/x": "invalid Prefix",
	} {
		if got, ok := parseClient(in); got.String() != want || ok != (want != "invalid Prefix") {
			t.Errorf("parseClient(%s) = %s, %t; want %s", in, got, ok, want)
		}
	}
}
