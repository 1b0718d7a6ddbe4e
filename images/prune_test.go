package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func unused(Ref) string { return "" }

// removed are the versions that a Prune took away.
func removed(all []Pruned) []int {
	var gone []int
	for _, p := range all {
		if p.Kept == "" {
			gone = append(gone, p.Ref.Version)
		}
	}
	return gone
}

func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	for _, test := range []struct {
		name    string
		current []int
		used    []int
		keep    int
		want    []int // removed
	}{
		{"the newest two", []int{6}, nil, 0, []int{1, 2, 3, 4}},
		{"current and previous", []int{2, 1}, nil, 0, []int{3, 4}},
		{"current is the newest", []int{3, 6}, nil, 1, []int{1, 2, 4, 5}},
		{"in use", []int{6}, []int{1, 3}, 1, []int{2, 4}}, // 5 is where a rollback leads
		{"keep many", []int{6}, nil, 6, nil},
		{"keep more than there are", []int{6}, nil, 60, nil},
		{"nothing is current", nil, nil, 1, []int{1, 2, 3, 4, 5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := versionsOfWeb(t, 6)
			for _, v := range test.current {
				must(t, c.SetCurrent(Ref{"web", v}))
			}
			o := PruneOptions{Keep: test.keep, InUse: func(r Ref) string {
				if slices.Contains(test.used, r.Version) {
					return "node web-03 runs it"
				}
				return ""
			}}
			o.DryRun = true
			planned, err := c.Prune(t.Context(), o)
			if err != nil || !slices.Equal(removed(planned), test.want) {
				t.Errorf("dry run: %+v, %v; want %v removed", planned, err, test.want)
			}
			if all, err := c.List(); err != nil || len(all) != 6 {
				t.Fatalf("after a dry run there are %d versions, %v", len(all), err)
			}
			o.DryRun = false
			done, err := c.Prune(t.Context(), o)
			if err != nil || !slices.Equal(removed(done), test.want) || len(done) != 6 {
				t.Errorf("%+v, %v; want %v removed", done, err, test.want)
			}
			for _, p := range done {
				_, err := c.Find(p.Ref)
				if gone := errors.Is(err, fs.ErrNotExist); gone != (p.Kept == "") {
					t.Errorf("%+v: Find = %v", p, err)
				}
				if used := slices.Contains(test.used, p.Ref.Version); used && p.Kept != "node web-03 runs it" {
					t.Errorf("%+v: the reason is lost", p)
				}
			}
			if len(test.current) > 1 {
				want := test.current[len(test.current)-2]
				if img, err := c.Rollback("web"); err != nil || img.Ref.Version != want {
					t.Errorf("Rollback = %s, %v; want %d", img.Ref, err, want)
				}
			}
		})
	}
}

// What begins to be used, or becomes current, while Prune goes on stays.
func TestPruneAsksAgain(t *testing.T) {
	c := versionsOfWeb(t, 4)
	must(t, c.SetCurrent(Ref{"web", 4}))
	asked := map[int]int{}
	all, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: func(r Ref) string {
		asked[r.Version]++
		if asked[r.Version] == 1 {
			return ""
		}
		return "a boot began"
	}})
	if err != nil || len(removed(all)) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if asked[1] < 2 {
		t.Errorf("asked %v", asked)
	}
	// So does what becomes current between the question and the removal.
	all, err = c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: func(r Ref) string {
		if r.Version == 1 && asked[1] < 3 {
			asked[1]++
			must(t, c.SetCurrent(Ref{"web", 1}))
		}
		return ""
	}})
	if now, findErr := c.Find(Ref{Name: "web"}); err != nil || findErr != nil || now.Ref.Version != 1 || !slices.Equal(removed(all), []int{2, 3}) {
		t.Errorf("%+v, %v; current is %s, %v", all, err, now.Ref, findErr)
	}
}

// What is said to be freed is what the disk gains.
func TestPruneTellsWhatIsFreed(t *testing.T) {
	dir, _ := loopFS(t, "ext4", 128<<20)
	c := &Catalog{Dir: dir}
	for n := range 4 {
		publishNext(t, c, "web", func(tree string) {
			putFile(t, tree, "usr/lib/all", bigContent(100), 0o644)
			putFile(t, tree, "usr/lib/two", bigContent(200+n/2), 0o644) // 1 and 2 share it, 3 and 4
			putFile(t, tree, "usr/lib/own", bigContent(300+n), 0o644)
			must(t, os.Link(filepath.Join(tree, "usr/lib/own"), filepath.Join(tree, "usr/lib/own2")))
		})
	}
	must(t, c.SetCurrent(Ref{"web", 4}))
	free := func() int64 { return freeBytes(t, dir) }
	planned, err := c.Prune(t.Context(), PruneOptions{Keep: 1, DryRun: true, InUse: unused})
	must(t, err)
	before := free()
	done, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: unused})
	must(t, err)
	gained := free() - before
	if fmt.Sprint(planned) != fmt.Sprint(done) {
		t.Errorf("planned %+v, done %+v", planned, done)
	}
	said := int64(0)
	for _, p := range done {
		said += p.Freed
	}
	if !slices.Equal(removed(done), []int{1, 2}) || said != gained {
		t.Errorf("%+v: %d bytes freed, the disk gained %d", done, said, gained)
	}
	if size := int64(len(bigContent(100))); said < 3*size || said > 4*size {
		t.Errorf("%d bytes freed, want some more than %d", said, 3*size)
	}
}

func TestPruneIsCareful(t *testing.T) {
	c := versionsOfWeb(t, 4)
	must(t, c.SetCurrent(Ref{"web", 4}))
	if _, err := c.Prune(t.Context(), PruneOptions{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without InUse: %v", err)
	}
	for name, want := range map[string]error{"mail": fs.ErrNotExist, "..": fs.ErrInvalid} {
		if _, err := c.Prune(t.Context(), PruneOptions{Name: name, InUse: unused}); !errors.Is(err, want) {
			t.Errorf("Prune(%s) = %v, want %v", name, err, want)
		}
	}
	// While the image is being built, and while a version is packed, it stays.
	unlock, err := c.lock("web")
	must(t, err)
	all, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: unused})
	unlock()
	if err != nil || len(removed(all)) > 0 || !strings.Contains(all[0].Kept, "built") {
		t.Errorf("in mid-build: %+v, %v", all, err)
	}
	unlock, err = lockDir(c.dir(Ref{"web", 1}))
	must(t, err)
	all, err = c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: unused})
	unlock()
	if err != nil || !slices.Equal(removed(all), []int{2}) || !strings.Contains(all[0].Kept, "packed") {
		t.Errorf("in mid-pack: %+v, %v", all, err)
	}
	// Other images are others' when a name is given.
	publishNext(t, c, "mail", nil)
	publishNext(t, c, "mail", nil)
	all, err = c.Prune(t.Context(), PruneOptions{Name: "mail", Keep: 1, InUse: unused})
	if err != nil || len(all) != 2 || all[0].Ref.Name != "mail" {
		t.Errorf("one image: %+v, %v", all, err)
	}
}
