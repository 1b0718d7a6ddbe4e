package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Hooks see a root with what programs expect, alone, without network; nothing of that stays, and what they
// write does.
func TestHooks(t *testing.T) {
	y := newToy(t)
	b := y.builder()
	recipe := y.recipe()
	recipe.Hooks = []string{
		`echo "pid $$"; ls -d /proc/[0-9]* >/tmp/processes; cat /proc/net/dev /proc/self/mounts >/etc/seen`,
		`head -c 4 /dev/urandom >/dev/null
		 touch /run/x /tmp/x /dev/shm/x
		 test ! -e /tmp/processes
		 echo "$MUSTER_IMAGE $HOME" >/etc/named
		 false || touch /etc/second`,
	}
	var told []Progress
	img, err := b.Build(t.Context(), "web", recipe, Options{Progress: func(p Progress) { told = append(told, p) }})
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(y.log(b)))
	}
	stages := map[Stage]int{}
	for i, p := range told {
		stages[p.Stage]++
		if i > 0 && (p.Percent < told[i-1].Percent || p.Elapsed < told[i-1].Elapsed) {
			t.Errorf("progress falls from %+v to %+v", told[i-1], p)
		}
	}
	for _, s := range []Stage{StageDownload, StageBase, StagePackages, StageTree, StageHooks, StageInitrd, StageDone} {
		if stages[s] == 0 {
			t.Errorf("nothing was told of the stage %s", s)
		}
	}
	tree := filepath.Join(img.Dir, TreeDir)
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(tree, name))
		must(t, err)
		return string(text)
	}
	seen := read("etc/seen")
	if strings.Count(seen, ":") != 1 || !strings.Contains(seen, "lo:") {
		t.Errorf("a hook has a network: %s", seen)
	}
	if got := read("etc/named"); got != "web /root\n" {
		t.Errorf("named: %q", got)
	}
	read("etc/second")
	for _, name := range []string{"run/x", "tmp/x", "dev/shm/x", "proc/1", "dev/shm"} {
		if _, err := os.Lstat(filepath.Join(tree, name)); err == nil && name != "dev/shm" {
			t.Errorf("%s stayed in the image", name)
		}
	}
	log := y.log(b)
	if !strings.Contains(log, "\npid 1\n") {
		t.Errorf("a hook's words are not in the log, or it is not alone:\n%s", tail(log))
	}
	if left := leftovers(t, b); len(left) != 2 { // the version, and current
		t.Errorf("there is %q", left)
	}
}

func TestLastLines(t *testing.T) {
	var l lastLines
	for _, s := range []string{"a", "", "b", "  ", "c", "d"} {
		l.add(s)
	}
	if got := strings.Join(l, ""); got != "bcd" {
		t.Errorf("last lines %q, want bcd", got)
	}
}
