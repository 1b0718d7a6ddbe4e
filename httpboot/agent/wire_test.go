package agent

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// A spec that passes the check names nothing outside of the root, and no line of a file of ours can hold
// more than it should.
func FuzzSpec(f *testing.F) {
	b, err := json.Marshal(Reply{Spec: webSpec()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"spec":{"hostname":"a","address":"1.2.3.4/0","root":{"type":"nfs","server":"1.2.3.4","path":"/"},"files":[{"path":"/.."}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reply
		if json.Unmarshal(b, &r) != nil || r.Spec == nil || r.Spec.check() != nil {
			return
		}
		for _, file := range nameFiles(r.Spec) {
			if want := map[string]int{"/etc/hostname": 1, "/etc/hosts": 3}[file.Path]; want != 0 && strings.Count(string(file.Content), "\n") != want {
				t.Errorf("%s is %q", file.Path, file.Content)
			}
		}
		for _, m := range r.Spec.Mounts {
			if !strings.HasPrefix(filepath.Join("/root", m.Target), "/root/") {
				t.Errorf("target %q", m.Target)
			}
		}
		for _, file := range r.Spec.Files {
			if !strings.HasPrefix(filepath.Join("/root", file.Path), "/root/") {
				t.Errorf("file %q", file.Path)
			}
		}
	})
}
