package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A version whose image.json is damaged is listed, rolled back from and removed like any other: it must not stand
// in the way of the others.
func TestADamagedVersionIsInNobodysWay(t *testing.T) {
	c := versionsOfWeb(t, 4)
	must(t, c.SetCurrent(Ref{"web", 1}))
	must(t, c.SetCurrent(Ref{"web", 2}))
	for _, v := range []int{2, 3} {
		must(t, os.Truncate(filepath.Join(c.dir(Ref{"web", v}), ImageFile), 20))
	}
	if _, err := c.Find(Ref{"web", 2}); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), ImageFile) {
		t.Errorf("Find of the damaged one = %v", err)
	}
	all, err := c.List()
	var refs []int
	for _, img := range all {
		refs = append(refs, img.Ref.Version)
		if whole := img.Digest != ""; whole != (img.Ref.Version != 2 && img.Ref.Version != 3) || img.Current != (img.Ref.Version == 2) {
			t.Errorf("listed: %+v", img)
		}
	}
	if err != nil || !slices.Equal(refs, []int{1, 2, 3, 4}) {
		t.Errorf("List has %v, %v", refs, err)
	}
	if err := c.Remove(Ref{"web", 2}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Remove of the current version = %v, want ErrPermission", err)
	}
	if img, err := c.Rollback("web"); err != nil || img.Ref.Version != 1 {
		t.Errorf("Rollback = %s, %v", img.Ref, err)
	}
	if err := c.Remove(Ref{"web", 3}); err != nil {
		t.Errorf("Remove = %v", err)
	}
	pruned, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: unused})
	if err != nil || !slices.Equal(removed(pruned), []int{2}) {
		t.Errorf("Prune = %+v, %v", pruned, err)
	}
}

// A build that published a version, and could not make it current, says so: the version is there.
func TestABuildThatCannotSwitchSaysWhatItMade(t *testing.T) {
	b := testBuilder(t, finishTree)
	one, err := b.Build(t.Context(), "web", Recipe{Kernel: KernelCloud}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Mkdir(filepath.Join(b.Catalog.Dir, "web", historyFile), 0o755)) // the way back cannot be written
	if _, err = b.Build(t.Context(), "web", Recipe{Kernel: KernelCloud}, Options{}); err == nil || !strings.Contains(err.Error(), "web:2 is published, but not current") {
		t.Errorf("Build = %v", err)
	}
	if now, err := b.Catalog.Find(Ref{Name: "web"}); err != nil || now.Ref != one.Ref {
		t.Errorf("current is %s, %v", now.Ref, err)
	}
	if _, err := b.Catalog.Find(Ref{"web", 2}); err != nil {
		t.Error(err)
	}
}
