package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwners(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"etc/passwd": "root:x:0:0::/:/bin/sh\nbroken\nbad:x:one:2:::\nwww-data:x:33:34:::\nwww-data:x:9:9:::\n7up:x:44:45:::\n+nis::::::\n",
		"etc/group":  "-> /usr/lib/group", "usr/lib/group": "adm:x:4:root\nwww-data:x:33:\nbad:x:-1:\n",
	})
	o := &owners{root: inRoot{root}}
	for spec, want := range map[string]owner{
		"": {0, 0}, "root:root": {}, "www-data:adm": {33, 4}, "www-data:www-data": {33, 33}, "www-data": {33, 34},
		"12:34": {12, 34}, "www-data:99": {33, 99}, "5:adm": {5, 4}, "7up": {44, 45},
	} {
		got, err := o.find(spec)
		if spec == "root:root" { // this image has no group root
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), `no "root" in /etc/group`) {
				t.Errorf("%s: %v", spec, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", spec, got, err, want)
		}
	}
	for spec, want := range map[string]string{
		"nobody:adm": `owner "nobody:adm": the image has no "nobody" in /etc/passwd`,
		"root:wheel": `the image has no "wheel" in /etc/group`,
		"root:":      "is not user:group", ":adm": "is not user:group", "12": "a numeric user needs a group",
		"bad:adm": `no "bad"`, "root:bad": `no "bad"`, "-1:0": `no "-1"`, "4294967295:0": "no ", "a:b:c": "no ",
	} {
		if _, err := o.find(spec); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", spec, err, want)
		}
	}
	// An image without the files has no names, and a pipe in their place is no reason to hang.
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (&owners{root: inRoot{empty}}).find("root:0"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no passwd: %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(empty, "etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&owners{root: inRoot{empty}}).find("root:0"); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a pipe: %v", err)
	}
}
