package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestSourcesAndKeysAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		return filepath.Join(dir, name)
	}
	good := []string{
		file("good.asc", "Comment\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
		file("good.gpg", "\x99\x01"+strings.Repeat("x", 20)), file("new.gpg", "\xc6"+strings.Repeat("x", 20)),
	}
	r := Recipe{Keys: good, Sources: []string{"deb http://x/debian bookworm main", "deb [arch=amd64 signed-by=/k] https://x ./", "deb file:/srv/x toy main extra"}, Hooks: []string{"true"}, Epoch: 1}
	if _, err := r.complete("web"); err != nil {
		t.Errorf("a good recipe: %v", err)
	}
	for wrong, want := range map[string]string{
		"http://x/debian bookworm main":            `must begin with "deb "`,
		"deb-src http://x/debian bookworm main":    `must begin with "deb "`,
		"deb http://x/debian":                      "wants an address, a suite and its components",
		"deb http://x/debian bookworm":             "components are missing",
		"deb [signed-by=/k http://x bookworm main": "no closing bracket",
		"deb http://x ./ main":                     "has no components",
		"deb x bookworm main":                      "is no URL",
		"deb http://x y main\ndeb http://z y main": "more than one line",
	} {
		_, err := Recipe{Sources: []string{wrong}}.complete("web")
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("source %q: %v; want %q", wrong, err, want)
		}
	}
	for wrong, want := range map[string]string{
		filepath.Join(dir, "none.asc"):                     "no such file",
		file("text", "not a key"):                          "no OpenPGP public key",
		file("secret", begin+"PGP PRIVATE KEY BLOCK-----"): "private key",
		"good.asc": "absolute path",
	} {
		_, err := Recipe{Keys: []string{wrong}}.complete("web")
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("key %q: %v; want %q", wrong, err, want)
		}
	}
	for _, r := range []Recipe{{Hooks: []string{" \n"}}, {Hooks: []string{"a\x00"}}, {Epoch: -1}, {Epoch: 1 << 40}} {
		if _, err := r.complete("web"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestWithOption(t *testing.T) {
	for line, want := range map[string]string{
		"deb http://x y main":                    "deb [signed-by=/k] http://x y main",
		"deb [arch=amd64] http://x y main":       "deb [arch=amd64 signed-by=/k] http://x y main",
		"deb [ signed-by=/own ] http://x y main": "deb [ signed-by=/own ] http://x y main",
		"deb [trusted=yes] http://x/[a]/ ./":     "deb [trusted=yes signed-by=/k] http://x/[a]/ ./",
	} {
		if got := withOption(line, "signed-by", "/k"); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestFeed(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "ours.pgp")
	must(t, os.WriteFile(key, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), 0o600))
	work := filepath.Join(dir, "work")
	must(t, os.MkdirAll(work, 0o755))
	f, err := newFeed(fstest.MapFS{"apt/trusted.gpg.d/x.gpg": {}}, Recipe{
		Suite: "trixie", Mirror: "http://snapshot/archive/debian/20250520T000000Z", Keys: []string{key},
		Sources: []string{"deb https://ours.example/apt trixie main", "deb file:/srv/local ./"},
	}, work)
	must(t, err)
	ours := filepath.Join(work, "keys/ours-1.asc")
	debian := ours
	if _, err := os.Stat(debianKeys); err == nil {
		debian = debianKeys + "," + ours
	}
	want := []string{
		"deb [signed-by=" + debian + " check-valid-until=no] http://snapshot/archive/debian/20250520T000000Z trixie main",
		"deb [signed-by=" + ours + "] https://ours.example/apt trixie main",
		"deb [signed-by=" + ours + "] copy:/srv/local ./",
	}
	if d := cmp.Diff(want, f.lines); d != "" {
		t.Error(d)
	}
	// The image has what is of use on a node.
	tree := t.TempDir()
	root, err := os.OpenRoot(tree)
	must(t, err)
	defer root.Close()
	must(t, f.leave(root))
	list, err := os.ReadFile(filepath.Join(tree, "etc/apt/sources.list"))
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	if len(lines) != 2 || strings.Contains(string(list), work) || !strings.Contains(lines[1], "[signed-by=/etc/apt/keyrings/ours-1.asc] https://ours.example/apt") {
		t.Errorf("sources.list:\n%s", list)
	}
	if _, err := os.Stat(filepath.Join(tree, "etc/apt/keyrings/ours-1.asc")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.keys); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the keys are left in the version's directory: %v", err)
	}
}

// An imported root keeps the sources that it came with.
func TestUnusedFeedLeavesTheRootAlone(t *testing.T) {
	tree := rooted(t, map[string]string{"etc/apt/sources.list": "deb http://archive.ubuntu.example/ubuntu noble main\n"})
	root, err := os.OpenRoot(tree)
	must(t, err)
	defer root.Close()
	must(t, feed{lines: []string{"deb http://x/debian bookworm main"}, unused: true}.leave(root))
	if got, err := os.ReadFile(filepath.Join(tree, "etc/apt/sources.list")); err != nil || !strings.Contains(string(got), "ubuntu noble") {
		t.Errorf("sources.list became %q, %v", got, err)
	}
}

func TestFirmwareWhereSourcesHaveIt(t *testing.T) {
	free := []string{"deb http://deb.debian.org/debian bookworm main"}
	both := append(slices.Clone(free), "deb http://deb.debian.org/debian bookworm non-free-firmware")
	if got := firmwarePackages(KernelFull, free); got != nil {
		t.Errorf("main alone: %q", got)
	}
	if got := firmwarePackages(KernelFull, both); !slices.Contains(got, "intel-microcode") || !slices.Contains(got, "firmware-bnx2x") {
		t.Errorf("both: %q", got)
	}
	if got := firmwarePackages(KernelCloud, both); got != nil {
		t.Errorf("cloud: %q", got)
	}
	if got := firmwarePackages(KernelFull, []string{"deb http://other/apt bookworm non-free-firmware"}); got != nil {
		t.Errorf("somebody else's component: %q", got)
	}
}
