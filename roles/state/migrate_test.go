package state

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
)

var newSample = flag.Bool("new-sample", false, "write the stored sample of the current version, once")

// TestSamples opens a file of every version that there ever was. The samples hold one of everything; what
// the current version shows of them is the sample's .json.
func TestSamples(t *testing.T) {
	for v := 1; v <= len(steps)+1; v++ {
		name := fmt.Sprintf("testdata/v%d.db.gz", v)
		golden := fmt.Sprintf("testdata/v%d.json", v)
		if *newSample && v == len(steps)+1 {
			writeSample(t, name, golden)
		}
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, gunzip(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := sampleJSON(t, s)
		s.Close()
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s shows\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestSteps migrates from version 1 to a version 3 that only this test knows.
func TestSteps(t *testing.T) {
	rename := func(old, new string) step {
		return func(s snapshot) (out []Record, err error) {
			for _, r := range s.buckets["roles"] {
				out = append(out, Record{r.Bucket, r.Key, bytes.ReplaceAll(r.Value, []byte(old), []byte(new))})
			}
			return out, nil
		}
	}
	m := memoryAt(t, 1)
	var log bytes.Buffer
	s, err := migrate(m, []step{rename("one", "two"), rename("two", "three")}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.buckets["roles"][0].Value); got != `{"name":"web","image":"three"}` {
		t.Errorf("migrated to %s", got)
	}
	if v, err := s.version(); v != 3 || err != nil {
		t.Errorf("version %d, %v; want 3", v, err)
	}
	if n := strings.Count(log.String(), "migrate state"); n != 2 {
		t.Errorf("%d steps logged, want 2", n)
	}
}

// TestStepFails: a migration that stops goes on from where it was.
func TestStepFails(t *testing.T) {
	nothing := func(snapshot) ([]Record, error) { return nil, nil }
	boom := errors.New("boom")
	fails := func(snapshot) ([]Record, error) { return nil, boom }
	m, log := memoryAt(t, 1), slog.New(slog.DiscardHandler)
	if _, err := migrate(m, []step{nothing, fails}, log); !errors.Is(err, boom) || !strings.Contains(err.Error(), "from version 2 to 3") {
		t.Fatalf("got %v", err)
	}
	again := func(snapshot) ([]Record, error) { t.Error("a finished step ran again"); return nil, nil }
	if _, err := migrate(m, []step{again, nothing}, log); err != nil {
		t.Fatal(err)
	}
}

func TestNewerVersion(t *testing.T) {
	_, err := New(memoryAt(t, len(steps)+2), Options{})
	if err == nil || !strings.Contains(err.Error(), "use the newer muster") {
		t.Errorf("got %v", err)
	}
}

// memoryAt is a backend with a role and a version.
func memoryAt(t *testing.T, version int) *Memory {
	t.Helper()
	m := new(Memory)
	err := m.Commit(1, []Record{
		{metaBucket, []byte(versionKey), fmt.Append(nil, version)},
		{"roles", []byte("web"), []byte(`{"name":"web","image":"one"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// writeSample must never be run again for a version that was released.
func writeSample(t *testing.T, name, golden string) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	mac := roles.MAC{0x52, 0x54, 0, 0xaa, 0, 1}
	addresses, _ := roles.ParseAddressRange("10.77.0.20-10.77.0.39")
	err = s.Update(t.Context(), func(tx roles.Tx) error {
		id, err := tx.NextBoot()
		for _, e := range []error{err,
			tx.Roles().Put(roles.Role{Name: "web", Health: &roles.Health{HTTP: &roles.HTTPCheck{Path: "/"}}}),
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Addresses: addresses, Match: &roles.Match{Arch: []string{"x86_64"}}}),
			tx.Pools().Put(roles.Pool{Name: "bare", Role: "web"}),
			tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addresses.First, Node: mac, Since: noon, Used: true}),
			tx.Slots().Put(roles.Slot{Name: "web-02", Pool: "web", Number: 2, Address: addresses.At(1)}),
			tx.Nodes().Put(roles.Node{MAC: mac, Pool: "web", Slot: "web-01", State: roles.StateReady, Labels: map[string]string{"rack": "a1"}}),
			tx.Boots().Put(roles.Boot{ID: id, Node: mac, Started: noon, Token: "secret"}),
		} {
			if e != nil {
				return e
			}
		}
		_, err = tx.Append(roles.Event{Time: noon, Node: mac, Boot: id, Step: roles.StepDiscover, Message: "hello"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.CommitLeases(t.Context(), []lease.Lease{
		{MAC: lease.MAC(mac), Addr: addresses.First, Expires: noon, Hostname: "web-01"},
		{MAC: lease.Quarantine(addresses.Last), Addr: addresses.Last, Expires: noon, Declined: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(golden, sampleJSON(t, s), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sampleJSON(t *testing.T, s *Store) []byte {
	t.Helper()
	var all []any
	s.View(func(tx roles.Tx) error {
		for v := range tx.Roles().All() {
			all = append(all, v)
		}
		for v := range tx.Pools().All() {
			all = append(all, v)
		}
		for v := range tx.Slots().All() {
			all = append(all, v)
		}
		for v := range tx.Nodes().All() {
			all = append(all, v)
		}
		for v := range tx.Boots().All() {
			all = append(all, v, v.Token)
		}
		for v := range tx.Events(0) {
			all = append(all, v)
		}
		return nil
	})
	for _, l := range s.Leases().All() {
		all = append(all, l)
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func gunzip(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
