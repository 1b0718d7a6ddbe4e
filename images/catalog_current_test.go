package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// versionsOfWeb makes a catalog with that many versions of web, none of which is current.
func versionsOfWeb(t *testing.T, n int) *Catalog {
	t.Helper()
	c := &Catalog{Dir: t.TempDir()}
	for range n {
		publishNext(t, c, "web", nil)
	}
	return c
}

func TestRollbackGoesBackStepByStep(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     []int // made current, in this order
		removed []int // then
		want    []int // where the rollbacks lead; 0 for an error
	}{
		{"one step", []int{1, 2}, nil, []int{1, 0}},
		{"not the number counts", []int{1, 4, 2}, nil, []int{4, 1, 0}},
		{"set twice", []int{1, 2, 2, 2}, nil, []int{1, 0}},
		{"to and fro", []int{1, 2, 1, 2}, nil, []int{1, 2, 1, 0}},
		{"the one before is gone", []int{1, 2, 3, 4}, []int{3}, []int{2, 1, 0}},
		{"all before are gone", []int{2, 3, 4}, []int{2, 3}, []int{1, 0}},
		{"never current before", []int{3}, nil, []int{2, 1, 0}},
		{"only newer ones", []int{1}, nil, []int{0}},
		{"a newer one before", []int{4, 2}, []int{4}, []int{1, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := versionsOfWeb(t, 4)
			for _, v := range test.set {
				must(t, c.SetCurrent(Ref{"web", v}))
			}
			for _, v := range test.removed {
				must(t, c.Remove(Ref{"web", v}))
			}
			for i, want := range test.want {
				img, err := c.Rollback("web")
				if want == 0 {
					if !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("rollback %d gave %s, %v; want ErrNotExist", i+1, img.Ref, err)
					}
					return
				}
				if err != nil || img.Ref.Version != want || !img.Current {
					t.Fatalf("rollback %d gave %s, current %t, %v; want version %d", i+1, img.Ref, img.Current, err, want)
				}
				if now, err := c.Find(Ref{Name: "web"}); err != nil || now.Ref != img.Ref {
					t.Fatalf("%s is current, %v; want %s", now.Ref, err, img.Ref)
				}
			}
		})
	}
}

func TestRollbackOfNothing(t *testing.T) {
	c := versionsOfWeb(t, 1)
	for name, want := range map[string]error{"mail": fs.ErrNotExist, "../web": fs.ErrInvalid, "web": fs.ErrNotExist} {
		if _, err := c.Rollback(name); !errors.Is(err, want) {
			t.Errorf("Rollback(%q) = %v, want %v", name, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "mail")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a rollback of nothing made a directory (%v)", err)
	}
}

func TestTheWayBackIsBounded(t *testing.T) {
	c := versionsOfWeb(t, 2)
	for i := range 3 * historyKept {
		must(t, c.SetCurrent(Ref{"web", 1 + i%2}))
	}
	before, err := c.history("web", 2)
	if err != nil || len(before) > historyKept {
		t.Errorf("%d versions in the history, %v", len(before), err)
	}
	// Garbage in the file is passed over.
	must(t, os.WriteFile(filepath.Join(c.Dir, "web", historyFile), []byte("x\n-1\n1\n007\n\n99\n"), 0o644))
	if img, err := c.Rollback("web"); err != nil || img.Ref.Version != 1 {
		t.Errorf("Rollback = %s, %v", img.Ref, err)
	}
}

// However switches, rollbacks and removals meet, current is a version that exists.
func TestSwitchesAndRemovalsAtOnce(t *testing.T) {
	c := versionsOfWeb(t, 8)
	must(t, c.SetCurrent(Ref{"web", 8}))
	var wg sync.WaitGroup
	for v := 1; v < 8; v++ {
		wg.Go(func() {
			if err := c.SetCurrent(Ref{"web", v}); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("SetCurrent(%d): %v", v, err)
			}
		})
		wg.Go(func() {
			err := c.Remove(Ref{"web", v})
			for errors.Is(err, fs.ErrExist) { // another removal has the lock
				err = c.Remove(Ref{"web", v})
			}
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Remove(%d): %v", v, err)
			}
		})
		wg.Go(func() {
			if _, err := c.Rollback("web"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Rollback: %v", err)
			}
		})
	}
	for range 100 {
		if _, err := c.Find(Ref{Name: "web"}); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if img, err := c.Find(Ref{Name: "web"}); err != nil {
		t.Errorf("after all, Find(web) = %s, %v", img.Ref, err)
	}
}
