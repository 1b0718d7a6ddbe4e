package images

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testTable is a table with an identity, which a page that was a metadata page has as well, and a time.
func testTable(id byte, modified string) []byte {
	b := make([]byte, 3*512)
	binary.LittleEndian.PutUint32(b[berkeleyMagicAt:], berkeleyHash)
	for _, page := range []int{0, 1024} {
		for i := range berkeleyIDSize {
			b[page+berkeleyIDAt+i] = id + byte(i)
		}
	}
	copy(b[600:], "\x01"+modified+"\x01YP_LAST_MODIFIED")
	copy(b[700:], "entries")
	return b
}

func TestSteadyTables(t *testing.T) {
	tree := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(tree, "etc"), 0o755))
	write := func(name string, b []byte) { must(t, os.WriteFile(filepath.Join(tree, "etc", name), b, 0o640)) }
	write("a.db", testTable(7, "1795353441"))
	write("b.db", testTable(9, "1795353502"))
	write("other.db", []byte("SQLite format 3\x00 1795353502\x01YP_LAST_MODIFIED"))
	must(t, steadyTables(tree, 1700000000))
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(tree, "etc", name))
		must(t, err)
		return b
	}
	a := read("a.db")
	if !slices.Equal(a, read("b.db")) {
		t.Error("two tables of the same entries differ")
	}
	if !strings.Contains(string(a), "\x011700000000\x01YP_LAST_MODIFIED") || !strings.Contains(string(a), "entries") {
		t.Errorf("the table lost something: %q", a)
	}
	if !strings.Contains(string(read("other.db")), "1795353502") {
		t.Error("a file that is no table was changed")
	}
	if info, err := os.Stat(filepath.Join(tree, "etc/a.db")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode changed: %v, %v", info, err)
	}
}

// The library itself still reads what became of a table.
func TestSteadyTableIsRead(t *testing.T) {
	if err := exec.Command("perl", "-MDB_File", "-e", "1").Run(); err != nil {
		t.Skipf("needs perl with DB_File (libdb): %v", err)
	}
	file := filepath.Join(t.TempDir(), "aliases.db")
	script := `tie %h, "DB_File", $ARGV[0], 66, 0644, $DB_HASH or die $!; `
	if out, err := exec.Command("perl", "-MDB_File", "-e", script+`$h{root} = "admin"`, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	must(t, err)
	steady := steadyTable(b, 1)
	if slices.Equal(steady, b) {
		t.Fatal("a table keeps its identity")
	}
	must(t, os.WriteFile(file, steady, 0o644))
	if out, err := exec.Command("perl", "-MDB_File", "-e", script+`print $h{root}`, file).CombinedOutput(); err != nil || string(out) != "admin" {
		t.Errorf("read: %q, %v", out, err)
	}
}
