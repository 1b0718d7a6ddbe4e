package images

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// toy is a distribution of some twenty files, made of this machine's shell and dpkg, in a signed archive on a
// web server that counts. The real mmdebstrap, apt and dpkg build of it in seconds.
type toy struct {
	t      *testing.T
	dir    string // the archive
	debs   map[string]string
	server *httptest.Server
	key    string // file with its public key

	mu      sync.Mutex
	fetched []string // packages, as they were asked for
}

// toyPrograms are what dpkg and packages' scripts need, and what hooks of tests call.
var toyPrograms = []string{
	"sh", "dpkg", "dpkg-deb", "dpkg-split", "dpkg-query", "dpkg-trigger", "tar", "rm", "diff", "ldconfig",
	"start-stop-daemon", "cat", "ls", "mkdir", "touch", "date", "env", "head", "id", "readlink", "mount",
}

// newToy makes the archive with the least that an image has.
func newToy(t *testing.T) *toy {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mmdebstrap makes other users' files")
	}
	for _, tool := range []string{"mmdebstrap", "dpkg-deb", "gpg", "ldd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	y := &toy{t: t, dir: t.TempDir(), debs: map[string]string{}}
	y.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".deb") {
			y.mu.Lock()
			y.fetched = append(y.fetched, filepath.Base(r.URL.Path))
			y.mu.Unlock()
		}
		http.FileServer(http.Dir(y.dir)).ServeHTTP(w, r)
	}))
	t.Cleanup(y.server.Close)
	y.makeKey()
	y.add("toybase", "1", "Essential: yes\nPriority: required\n", y.base(), "")
	for _, name := range []string{"systemd", "systemd-sysv", "dbus", "udev", "kmod", "iproute2"} {
		y.add(name, "1", "", nil, "")
	}
	y.add("linux-image-cloud-amd64", "1", "", map[string]string{
		"boot/vmlinuz-1-toy": "kernel", "usr/lib/modules/1-toy/kernel/nfs.ko": "module", "usr/lib/modules/1-toy/modules.dep": "kernel/nfs.ko:\n",
	}, "")
	y.publish()
	return y
}

// run runs a program and gives its output.
func (y *toy) run(name string, args ...string) []byte {
	y.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		y.t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return out
}

// base are the files of the essential package: programs with their libraries. A value that begins with @ is
// a file of this machine.
func (y *toy) base() map[string]string {
	files := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:19000:0:99999:7:::\n",
		"usr/lib/os-release": "ID=toy\n", "var/log/": "", "usr/bin/": "", "proc/": "", "sys/": "", "run/": "", "tmp/": "",
	}
	for _, name := range toyPrograms {
		path, err := exec.LookPath(name)
		if err != nil {
			y.t.Fatal(err)
		}
		real, err := filepath.EvalSymlinks(path)
		must(y.t, err)
		files["bin/"+name] = "@" + real
		for _, word := range strings.Fields(string(y.run("ldd", real))) {
			if strings.HasPrefix(word, "/") {
				real, err := filepath.EvalSymlinks(word)
				must(y.t, err)
				files[strings.TrimPrefix(strings.TrimPrefix(word, "/usr"), "/")] = "@" + real
			}
		}
	}
	return files
}

// add makes a package of the distribution. script is its postinst.
func (y *toy) add(name, version, fields string, files map[string]string, script string) {
	y.t.Helper()
	dir := y.t.TempDir()
	must(y.t, os.Chmod(dir, 0o755))
	for path, content := range files {
		to := filepath.Join(dir, path)
		if strings.HasSuffix(path, "/") {
			must(y.t, os.MkdirAll(to, 0o755))
			continue
		}
		must(y.t, os.MkdirAll(filepath.Dir(to), 0o755))
		if from, is := strings.CutPrefix(content, "@"); is {
			must(y.t, os.Link(from, to))
			continue
		}
		must(y.t, os.WriteFile(to, []byte(content), 0o644))
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: toy <toy@example.org>\nDescription: toy\n%s", name, version, fields)
	must(y.t, os.Mkdir(filepath.Join(dir, "DEBIAN"), 0o755))
	must(y.t, os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644))
	if script != "" {
		must(y.t, os.WriteFile(filepath.Join(dir, "DEBIAN/postinst"), []byte("#!/bin/sh\n"+script), 0o755))
	}
	file := filepath.Join("pool", debName(name, version, "amd64"))
	must(y.t, os.MkdirAll(filepath.Join(y.dir, "pool"), 0o755))
	must(y.t, os.Chmod(y.dir, 0o755))
	y.run("env", "SOURCE_DATE_EPOCH=1700000000", "dpkg-deb", "-Znone", "--root-owner-group", "--build", dir, filepath.Join(y.dir, file))
	b, err := os.ReadFile(filepath.Join(y.dir, file))
	must(y.t, err)
	y.debs[name] = fmt.Sprintf("%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, file, len(b), sha256.Sum256(b))
}

// publish writes the archive's lists and signs them.
func (y *toy) publish() {
	y.t.Helper()
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(y.debs)) {
		list.WriteString(y.debs[name])
	}
	dist := filepath.Join(y.dir, "dists/toy")
	must(y.t, os.MkdirAll(filepath.Join(dist, "main/binary-amd64"), 0o755))
	must(y.t, os.WriteFile(filepath.Join(dist, "main/binary-amd64/Packages"), []byte(list.String()), 0o644))
	release := fmt.Sprintf("Origin: toy\nSuite: toy\nCodename: toy\nArchitectures: amd64\nComponents: main\nDate: %s\nSHA256:\n %x %d main/binary-amd64/Packages\n",
		time.Now().UTC().Format(time.RFC1123), sha256.Sum256([]byte(list.String())), list.Len())
	must(y.t, os.WriteFile(filepath.Join(dist, "Release"), []byte(release), 0o644))
	y.gpg("--clearsign", "--output", filepath.Join(dist, "InRelease"), filepath.Join(dist, "Release"))
	must(y.t, os.Remove(filepath.Join(dist, "Release")))
}

func (y *toy) gpg(args ...string) []byte {
	y.t.Helper()
	return y.run("gpg", append([]string{"--homedir", filepath.Join(filepath.Dir(y.key), "home"), "--batch", "--yes", "--quiet", "--passphrase", ""}, args...)...)
}

// makeKey makes the archive's key.
func (y *toy) makeKey() {
	y.t.Helper()
	// gpg's agent puts a socket into its home, and the names of sockets are short.
	dir, err := os.MkdirTemp("/tmp", "toykey")
	must(y.t, err)
	y.t.Cleanup(func() { _ = os.RemoveAll(dir) }) // gpg's agent may be removing its socket
	must(y.t, os.Mkdir(filepath.Join(dir, "home"), 0o700))
	y.key = filepath.Join(dir, "toy.asc")
	y.gpg("--quick-gen-key", "toy", "ed25519", "sign", "never")
	must(y.t, os.WriteFile(y.key, y.gpg("--armor", "--export", "toy"), 0o644))
	y.t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", filepath.Join(dir, "home"), "--kill", "all").Run() })
}

// mirror is the archive's address.
func (y *toy) mirror() string { return y.server.URL + "/" }

// asked gives the packages that were fetched since it was asked last.
func (y *toy) asked() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	all := y.fetched
	y.fetched = nil
	slices.Sort(all)
	return all
}

// recipe is that of an image of the distribution.
func (y *toy) recipe(packages ...string) Recipe {
	return Recipe{Suite: "toy", Kernel: KernelCloud, Mirror: y.mirror(), Keys: []string{y.key}, Packages: packages}
}

// builder is a Builder with the real mmdebstrap.
func (y *toy) builder() *Builder {
	y.t.Helper()
	dir := y.t.TempDir()
	b := &Builder{
		Catalog: &Catalog{Dir: filepath.Join(dir, "images")}, Cache: filepath.Join(dir, "cache"),
		Agent: filepath.Join(dir, "agent"), Etc: fstest.MapFS{},
	}
	must(y.t, os.WriteFile(b.Agent, []byte("agent"), 0o755))
	return b
}

// silent gives the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String() + "/"
}
