package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoleWeb: two nodes serve the same sites, which are nothing but directories, with the operator's certificate.
func TestRoleWeb(t *testing.T) {
	s := newSite(t)
	pem, trust := s.certificate("example.org", "www.example.org")
	s.muster("secret", "set", "pool/web/tls", pem)
	first := s.bios("first")
	second := s.bios("second")
	nodes := map[string]string{}
	for _, m := range []string{first, second} {
		n := s.waitServing(m)
		nodes[n.Slot] = n.Address.String()
	}
	for slot, address := range nodes {
		if page := s.get("http://" + address + "/"); !strings.Contains(page, slot) {
			t.Errorf("the page of %s does not name it:\n%s", slot, page)
		}
	}
	s.volume("www", "example.org/index.html", "this is example.org")
	for _, address := range nodes {
		s.untilSays("this is example.org", "curl", "-sS", "--connect-to", "www.example.org:80:"+address, "http://www.example.org/")
		s.untilSays("this is example.org", "curl", "-sS", "--cacert", trust, "--connect-to", "example.org:443:"+address, "https://example.org/")
		// Nothing was restarted, and a site that goes is gone.
		s.untilSays("X-Slot: web-0", "curl", "-sSI", "--connect-to", "example.org:80:"+address, "http://example.org/")
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "data/volumes/www/example.org")); err != nil {
		t.Fatal(err)
	}
	for _, address := range nodes {
		s.untilSays("running image <b>web:", "curl", "-sS", "-H", "Host: example.org", "http://"+address+"/")
	}
}
