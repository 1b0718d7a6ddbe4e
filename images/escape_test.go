package images

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A hook, or a package's script, may make a link where a directory was: /var/cache/apt -> /srv/apt. Seen from
// outside of the root it leads to this machine's files, and those are not the image's.
func TestSettlingStaysInTheRoot(t *testing.T) {
	for _, test := range []struct{ link, file string }{
		{"var/cache/apt", "archives/partial"},
		{"var/lib/dpkg", "status-old"},
		{"var/lib/apt/lists", "mirror_Packages"},
		{"root", ".bash_history"},
		{"var", "log/wtmp"},
		{"etc/postfix", "aliases.db"},
		{"boot", "vmlinuz-6.1.0-1-amd64"},
	} {
		outside := t.TempDir()
		file := filepath.Join(outside, test.file)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		table := testTable(7, "1700000000")
		must(t, os.WriteFile(file, table, 0o644))
		tree := rooted(t, map[string]string{"etc/shadow": "root:*:1::::::\n", "usr/x": "x"})
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(tree, test.link)), 0o755))
		must(t, os.Symlink(outside, filepath.Join(tree, test.link)))
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		must(t, err)
		defer log.Close()
		w := &build{log: log, progress: newProgress(nil), dir: tree, epoch: 1}
		if err := w.settle(t.Context(), tree); err != nil {
			t.Errorf("%s: settle: %v", test.link, err)
		}
		if _, err := takeKernel(tree, filepath.Join(t.TempDir(), KernelFile)); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: takeKernel: %v, want ErrInvalid: the root has no kernel", test.link, err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, table) {
			t.Errorf("%s -> outside: the file %s there is changed or gone: %v", test.link, test.file, err)
		}
	}
	// So may it where certificates are.
	outside, tree := t.TempDir(), t.TempDir()
	must(t, os.Symlink("../this-machines", filepath.Join(outside, "link.pem")))
	must(t, os.MkdirAll(filepath.Join(tree, "etc/ssl"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(tree, "etc/ssl/certs")))
	must(t, widowed(tree, "etc/ssl/certs"))
	if _, err := os.Lstat(filepath.Join(outside, "link.pem")); err != nil {
		t.Errorf("a link of this machine is gone: %v", err)
	}
}

// Who logs in to a mirror or a proxy does so with this machine's password: it is in no image and in no log.
func TestPasswordsOfSourcesStayHere(t *testing.T) {
	const line = "deb [signed-by=/k] https://me:hunter2@ours.example/apt trixie main"
	root, tree := openRoot(t)
	must(t, feed{lines: []string{line, "deb http://tokenhunter2@deb.example/debian trixie main"}, keys: t.TempDir()}.leave(root))
	list, err := os.ReadFile(filepath.Join(tree, "etc/apt/sources.list"))
	if err != nil || strings.Contains(string(list), "hunter2") || !strings.Contains(string(list), "[signed-by=/k] https://ours.example/apt trixie main\n") {
		t.Errorf("sources.list: %q, %v", list, err)
	}
	b := testBuilder(t, finishTree)
	conf := filepath.Join(t.TempDir(), "apt.conf")
	must(t, os.WriteFile(conf, []byte(`Acquire::http::Proxy "http://me:hunter2@proxy.example:3128";`), 0o644))
	t.Setenv("APT_CONFIG", conf)
	img, err := b.Build(t.Context(), "web", Recipe{Kernel: KernelCloud, Mirror: line}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(img.Dir, LogFile))
	if err != nil || strings.Contains(string(log), "hunter2") || !strings.Contains(string(log), "proxy.example:3128") || !strings.Contains(string(log), "ours.example/apt") {
		t.Errorf("the log: %s, %v", log, err)
	}
}

// A file of many gigabytes in an overlay is copied, not held in memory.
func TestOverlayCopiesLargeFiles(t *testing.T) {
	root, dir := openRoot(t)
	src := t.TempDir()
	const size = 64 << 20
	must(t, os.WriteFile(filepath.Join(src, "large"), nil, 0o444))
	must(t, os.Truncate(filepath.Join(src, "large"), size))
	most := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err := copyOverlay(root, os.DirFS(src)); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if most > size/8 {
		t.Errorf("%d bytes of memory for a file of %d", most, size)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "large"), &st); err != nil || st.Size != size || st.Mode&0o777 != 0o644 {
		t.Errorf("the copy has %d bytes and mode %o, %v", st.Size, st.Mode, err)
	}
}
