package roles_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A change of files, secrets and variables is told one by one, and a long content by its beginning.
func TestApplyTellsWhichFile(t *testing.T) {
	r := newRack(t)
	const text = `roles:
- name: web
  vars: {port: 80, gone: 1, same: [a]}
  secrets: [{name: tls, kind: tls}, {name: same}]
  files:
  - {path: /etc/same, content: x}
  - {path: /etc/motd, content: hello}
  - {path: /etc/gone, content: x}
  - path: /etc/long
    mode: 0640
    content: |
      first line
      second line
`
	r.declare(text)
	changed := strings.NewReplacer("port: 80", "port: 81", "gone: 1", "new: x", "kind: tls", "kind: ssh", "hello", "bye", "/etc/gone", "/etc/new", "second", "third").Replace(text)
	want := []string{"update role web: files[/etc/gone] {path: /etc/gone, content: x} → " +
		": files[/etc/long] {path: /etc/long, mode: 0640, content: \"first line… (2 lines, sha256 c2097f55f01fc297fc7f4acf)\"} → {path: /etc/long, mode: 0640, content: \"first line… (2 lines, sha256 3dbc11db8613d6e243a9b63f)\"}" +
		": files[/etc/motd] {path: /etc/motd, content: hello} → {path: /etc/motd, content: bye}" +
		": files[/etc/new]  → {path: /etc/new, content: x}" +
		": secrets[tls] {name: tls, kind: tls} → {name: tls, kind: ssh}" +
		": vars.gone 1 → : vars.new  → x: vars.port 80 → 81"}
	if d := cmp.Diff(want, lines(r.declare(changed))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]string{"unchanged role web"}, lines(r.declare(changed))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
