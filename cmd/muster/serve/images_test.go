package serve

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"muster/images"
)

// TestNoShellInWhatIsRemoved: from the moment that nobody is in a version, nobody gets in until it is gone.
func TestNoShellInWhatIsRemoved(t *testing.T) {
	i := Images{&images.Catalog{Dir: t.TempDir()}}
	dir := filepath.Join(i.Dir, "web")
	for v := 1; v <= 4; v++ {
		at := filepath.Join(dir, strconv.Itoa(v))
		err := errors.Join(os.MkdirAll(filepath.Join(at, images.TreeDir), 0o755), os.WriteFile(filepath.Join(at, images.ImageFile), []byte("{}"), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := i.SetCurrent(images.Ref{Name: "web", Version: 4}); err != nil {
		t.Fatal(err)
	}
	first, err := i.Find(images.Ref{Name: "web", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	pruned, err := i.Prune(t.Context(), images.PruneOptions{InUse: func(ref images.Ref) string {
		if ref != first.Ref {
			return "it is not the one"
		}
		// Before the first answer it may stay, right before it is removed nobody may get in.
		release, err := Hold(first)
		if asked++; asked == 1 && err != nil || asked > 1 && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("asked for the %d. time: %v", asked, err)
		}
		if err == nil {
			release()
		}
		return ""
	}})
	if err != nil || asked != 2 || len(pruned) == 0 || pruned[0].Kept != "" {
		t.Fatalf("Prune = %+v, %v; asked %d times", pruned, err, asked)
	}
	if _, err := Hold(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Hold of what is removed: %v", err)
	}

	second, err := i.Find(images.Ref{Name: "web", Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // two shells
		release, err := Hold(second)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	if err := i.Remove(second.Ref); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Remove = %v", err)
	}
}
