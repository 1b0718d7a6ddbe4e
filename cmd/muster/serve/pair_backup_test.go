package serve

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"muster/httpboot/agent/pair"
	"muster/roles"
	"muster/roles/api"
)

var (
	pairMACs = [2]roles.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	pairKey  = strings.Repeat("5a", sha256.Size)
)

// pairOfTwo is a server with a storage pair that was made, of which storage-01 serves.
func pairOfTwo(t *testing.T) *server {
	t.Helper()
	s := rackOf(t)
	key, err := hex.DecodeString(pairKey)
	if err != nil {
		t.Fatal(err)
	}
	now, claim := time.Now(), sha256.Sum256(key)
	addr := netip.MustParseAddr
	change(t, s, func(tx roles.Tx) error {
		made := roles.Pair{Pool: "storage", Made: now, Active: "storage-01", At: now, Disks: map[string]roles.PairDisk{}}
		errs := []error{
			tx.Roles().Put(roles.Role{Name: "storage"}),
			tx.Pools().Put(roles.Pool{
				Name: "storage", Role: "storage", Size: roles.Size{Min: 2, Max: 2}, Addresses: roles.AddressRange{First: addr("10.77.0.10"), Last: addr("10.77.0.11")},
				Pair: &roles.PairSpec{Address: addr("10.77.0.9"), Disk: roles.DiskRule{Serial: "DATA-*"}},
			}),
		}
		for i, mac := range pairMACs {
			slot := fmt.Sprintf("storage-%02d", i+1)
			made.Disks[slot] = roles.PairDisk{Serial: "DATA-" + slot, Meta: slot, Whole: true, Since: now}
			errs = append(errs,
				tx.Slots().Put(roles.Slot{Name: slot, Pool: "storage", Number: i + 1, Address: addr(fmt.Sprintf("10.77.0.%d", 10+i)), Node: mac, Used: true}),
				tx.Nodes().Put(roles.Node{MAC: mac, Pool: "storage", Slot: slot, State: roles.StateReady, Boot: uint64(i + 1)}),
				tx.Boots().Put(roles.Boot{ID: uint64(i + 1), Node: mac, Slot: slot, Started: now, Step: roles.StepReady, Claim: hex.EncodeToString(claim[:])}))
		}
		return errors.Join(append(errs, tx.Pairs().Put(made))...)
	})
	saysHalf(t, s, 0, "UpToDate", "Connected")
	saysHalf(t, s, 1, "UpToDate", "Connected")
	return s
}

// saysHalf has a half say how it is.
func saysHalf(t *testing.T, s *server, i int, disk, link string) {
	t.Helper()
	slot := fmt.Sprintf("storage-%02d", i+1)
	_, err := s.registry.PairReport(t.Context(), pairMACs[i], pairKey, roles.Half{
		Phase: roles.PhaseCluster, Disk: "/dev/vdb", Serial: "DATA-" + slot, Meta: slot, DiskState: disk, PeerDisk: "UpToDate",
		Connection: link, Joined: true, Quorate: true, QDevice: true, Active: i == 0,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sendHalf has storage-02 take its order, and bring pieces and a last word, or end with t.
func sendHalf(t *testing.T, s *server, pieces []string, why string) {
	var o *pair.Copy
	for o == nil {
		if t.Context().Err() != nil {
			return
		}
		o = s.copies.order("storage", pairMACs[1])
		time.Sleep(time.Millisecond)
	}
	at := int64(0)
	for _, text := range pieces {
		if _, err := s.copies.word(t.Context(), "storage", pairMACs[1], pair.CopyPiece{ID: o.ID, Offset: at, Data: []byte(text)}); err != nil {
			t.Error(err)
		}
		at += int64(len(text))
	}
	if _, err := s.copies.word(t.Context(), "storage", pairMACs[1], pair.CopyPiece{ID: o.ID, Done: true, Note: "held back for 5 ms", Why: why}); err != nil {
		t.Error(err)
	}
}

// TestBackupIsRemembered: the pair knows its latest backup, and one that failed or was refused since.
func TestBackupIsRemembered(t *testing.T) {
	s := pairOfTwo(t)
	kept := func() roles.PairView {
		t.Helper()
		v, err := s.registry.Pair("storage")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := kept(); v.State != roles.PairWhole || !v.Backup.At.IsZero() {
		t.Fatalf("the pair is %s (%s), with %+v", v.State, v.Why, v.Backup)
	}
	var got bytes.Buffer
	go sendHalf(t, s, []string{"abc", "def"}, "")
	if err := s.Backup(t.Context(), "storage", api.BackupRequest{To: "vault:/b"}, &got); err != nil || got.String() != "abcdef" {
		t.Fatalf("%q, %v", &got, err)
	}
	if b := kept().Backup; b.Size != 6 || b.To != "vault:/b" || b.From != "storage-02" || time.Since(b.At) > time.Hour || b.Why != "" {
		t.Errorf("whole: %+v", b)
	}
	go sendHalf(t, s, []string{"x"}, "its memory is full")
	if err := s.Backup(t.Context(), "storage", api.BackupRequest{}, &got); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("one that fails: %v", err)
	}
	if v := kept(); v.Backup.Size != 6 || v.BackupFailed.Why != "storage-02: its memory is full" || v.BackupFailed.From != "storage-02" {
		t.Errorf("failed: %+v, %+v", v.Backup, v.BackupFailed)
	}
	saysHalf(t, s, 1, "Inconsistent", "SyncTarget")
	if err := s.Backup(t.Context(), "storage", api.BackupRequest{To: "vault:/c"}, &got); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("of a pair on one leg: %v", err)
	}
	if f := kept().BackupFailed; f.To != "vault:/c" || !strings.Contains(f.Why, "the pair storage is degraded") || strings.Contains(f.Why, "invalid argument") {
		t.Errorf("refused: %+v", f)
	}
}
