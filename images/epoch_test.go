package images

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deb is the beginning of a package of that date.
func deb(date string) string {
	return "!<arch>\n" + fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10d`\n", "debian-binary", date, "0", "0", "100644", 4) + "2.0\n"
}

func TestPackageEpoch(t *testing.T) {
	tree := rooted(t, map[string]string{"a.deb": deb("1700000000"), "b.deb": deb("1600000000"), "c.deb": deb("never"), "d.deb": "short", "e.deb": "no archive" + deb("1800000000")})
	debs, err := filepath.Glob(filepath.Join(tree, "*.deb"))
	must(t, err)
	if got, err := packageEpoch(debs); err != nil || got != 1700000000 {
		t.Errorf("epoch %d, %v; want that of the newest package", got, err)
	}
	if got, err := packageEpoch(nil); err != nil || got != 0 {
		t.Errorf("of nothing: %d, %v", got, err)
	}
}

func TestClamp(t *testing.T) {
	const epoch = 1700000000
	tree := rooted(t, map[string]string{"new": "", "dir/new": "", "old": "", "fraction": ""})
	at := func(name string, sec, nsec int64) {
		must(t, os.Chtimes(filepath.Join(tree, name), time.Time{}, time.Unix(sec, nsec)))
	}
	at("old", epoch-5, 7)
	at("fraction", epoch, 1)
	must(t, os.Symlink("/nowhere", filepath.Join(tree, "link")))
	if newest, err := treeEpoch(t.Context(), tree); err != nil || newest <= epoch {
		t.Errorf("the newest file is of %d, %v", newest, err)
	}
	must(t, clamp(t.Context(), tree, epoch))
	for name, want := range map[string]unix.Timespec{
		".": {Sec: epoch}, "new": {Sec: epoch}, "dir": {Sec: epoch}, "dir/new": {Sec: epoch}, "link": {Sec: epoch},
		"fraction": {Sec: epoch}, "old": {Sec: epoch - 5, Nsec: 7},
	} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(tree, name), &st))
		if st.Mtim != want {
			t.Errorf("%s is of %v, want %v", name, st.Mtim, want)
		}
	}
}

func TestShadowDates(t *testing.T) {
	tree := rooted(t, map[string]string{"etc/shadow": "root:*:19000:0:99999:7:::\nnew:!:0:::::\nnever:!::0:::::\nx\n"})
	root, err := os.OpenRoot(tree)
	must(t, err)
	defer root.Close()
	must(t, date(root, 100*86400+5))
	got, err := os.ReadFile(filepath.Join(tree, "etc/shadow"))
	must(t, err)
	// 0 asks for a new password, and nothing for none: both stay.
	if want := "root:*:100:0:99999:7:::\nnew:!:0:::::\nnever:!::0:::::\nx\n"; string(got) != want {
		t.Errorf("shadow is %q, want %q", got, want)
	}
	must(t, root.Remove("etc/shadow"))
	if err := date(root, 1); err != nil {
		t.Errorf("without the file: %v", err)
	}
}
