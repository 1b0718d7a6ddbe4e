package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"muster/roles"
	"muster/roles/state"
	"muster/roles/state/statetest"
)

// refused opens path, which must fail, and returns the error's text.
func refused(t *testing.T, path string) (string, error) {
	t.Helper()
	s, err := state.Open(path, state.Options{})
	if err == nil {
		s.Close()
		t.Fatal("Open returned no error")
	}
	if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "state: ") {
		t.Errorf("error %q is not one sentence of state", err)
	}
	return err.Error(), err
}

func TestOpenLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	if text, _ := refused(t, path); !strings.Contains(text, path+" is in use by another process") {
		t.Errorf("error %q", text)
	}
	s.Close()
	open(t, path)
}

func TestOpenPlaces(t *testing.T) {
	dir := t.TempDir()
	if _, err := refused(t, filepath.Join(dir, "none", "state.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory that is missing: %v", err)
	}
	refused(t, dir)
	if text, _ := refused(t, write(t, []byte("not a database, but longer than nothing"))); !strings.Contains(text, "damaged or not a state file") {
		t.Errorf("text file: %q", text)
	}
	empty := write(t, nil)
	open(t, empty)
	created := filepath.Join(dir, "new.db")
	open(t, created)
	if info, err := os.Stat(created); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("new file: mode %v, %v; it holds tokens and must be its owner's", info.Mode(), err)
	}
}

func TestOpenForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("other"))
		if err != nil {
			return err
		}
		_, err = b.CreateBucket([]byte("nested"))
		return errors.Join(err, b.Put([]byte("k"), []byte("v")))
	})
	db.Close()
	if text, _ := refused(t, path); !strings.Contains(text, "not Muster's") {
		t.Errorf("error %q", text)
	}
}

// TestOpenDamaged overwrites and cuts the file page by page: opening it gives an error or a store, never a
// crash.
func TestOpenDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	for range 20 {
		update(t, s, func(tx roles.Tx) error {
			for i := range 20 {
				if err := putNumbered(tx, i); err != nil {
					return err
				}
			}
			return statetest.Fill(tx)
		})
	}
	s.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	failed := 0
	try := func(b []byte) {
		s, err := state.Open(write(t, b), state.Options{})
		if err != nil {
			failed++
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q is not one sentence", err)
			}
			return
		}
		statetest.Dump(s)
		s.Close()
	}
	for at := 0; at < len(good); at += page {
		for _, fill := range []byte{0, 0xff, 'x'} {
			b := append([]byte(nil), good...)
			for i := range page {
				b[at+i] = fill
			}
			try(b)
		}
		try(good[:at])
	}
	if failed == 0 {
		t.Error("no damage was noticed: the test tested nothing")
	}
	t.Logf("%d of %d damages noticed, the others in unused pages", failed, 4*len(good)/page)
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f.Name()
}
