package conventions

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leftover is text that belongs into no commit.
type leftover struct {
	re     *regexp.Regexp
	reason string
}

// leftovers are written so that they do not find themselves here.
func leftovers(t *testing.T) []leftover {
	t.Helper()
	out := []leftover{
		{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`), "an open end: finish it, or open an issue"},
		{regexp.MustCompile(`^(<{7}|>{7}|={7})( |$)`), "a merge conflict"},
		{regexp.MustCompile(`/home` + `/[a-z]+/|/Us` + `ers/`), "somebody's own directory"},
		{regexp.MustCompile(`\r$`), "a line that ends with a carriage return"},
		{regexp.MustCompile(`-BEGIN [A-Z ]*PRIVATE ` + `KEY-`), "a private key"},
	}
	// The directory and the module proxy of whoever runs this test.
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(dir, "/") > 1 {
		out = append(out, leftover{regexp.MustCompile(regexp.QuoteMeta(dir) + `\b`), "the path of a checkout"})
	}
	proxies, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.FieldsFunc(string(proxies), func(r rune) bool { return strings.ContainsRune(",| \n", r) }) {
		if u, err := url.Parse(p); err == nil && u.Host != "" && u.Host != "proxy.golang.org" {
			out = append(out, leftover{regexp.MustCompile(regexp.QuoteMeta(u.Host)), "the host of a module proxy"})
		}
	}
	return out
}

func leftoverFaults(list []leftover, path string, b []byte) []string {
	if bytes.IndexByte(b, 0) >= 0 {
		return nil // a packet, a picture
	}
	var out []string
	for i, line := range bytes.Split(b, []byte("\n")) {
		for _, l := range list {
			if l.re.Match(line) {
				out = append(out, fmt.Sprintf("%s:%d: %s", path, i+1, l.reason))
			}
		}
	}
	return out
}

func TestLeftovers(t *testing.T) {
	list := leftovers(t)
	bad := "// TO" + "DO: more\n<<<<<<< HEAD\nfine\n/home" + "/me/x\ndos\r\nTODOS == =======\n"
	want := []string{
		"x:1: an open end: finish it, or open an issue",
		"x:2: a merge conflict",
		"x:4: somebody's own directory",
		"x:5: a line that ends with a carriage return",
	}
	if d := cmp.Diff(want, leftoverFaults(list, "x", []byte(bad))); d != "" {
		t.Errorf("example: -want +got:\n%s", d)
	}
	err := walk(func(path string) error {
		b, err := os.ReadFile(filepath.Join(root, path))
		for _, f := range leftoverFaults(list, path, b) {
			t.Error(f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
