package pair

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// With NSS's own tools: what corosync-qdevice looks for is in the database by its names, and trusted.
func TestVote(t *testing.T) {
	for _, tool := range []string{"certutil", "pk12util"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, noise, password := file("empty", ""), file("noise", strings.Repeat("noise", 100)), file("password", "secret")
	db := "sql:" + dir
	run("certutil", "-N", "-d", db, "-f", empty)
	run("certutil", "-S", "-d", db, "-f", empty, "-n", "QNet CA", "-s", "CN=QNet CA", "-x", "-t", "CT,c,c", "-m", "1", "-z", noise)
	run("certutil", "-S", "-d", db, "-f", empty, "-n", "Cluster Cert", "-s", "CN=storage", "-c", "QNet CA", "-t", "u,u,u", "-m", "2", "-z", noise)
	run("pk12util", "-o", dir+"/bundle.p12", "-n", "Cluster Cert", "-d", db, "-k", empty, "-w", password)
	bundle, err := os.ReadFile(dir + "/bundle.p12")
	if err != nil {
		t.Fatal(err)
	}

	h := newHalf(t)
	h.server.vote = Vote{Bundle: bundle, Password: "secret"}
	for _, tool := range []string{"certutil", "pk12util"} {
		h.f.program(tool, func(args []string) (string, error) { return Linux{}.Run(t.Context(), nil, tool, args...) })
	}
	for range 2 {
		if err := h.vote(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	list := run("certutil", "-L", "-d", "sql:"+h.f.root+nssDir)
	if !strings.Contains(list, "QNet CA") || !strings.Contains(list, "CT,c,c") || !strings.Contains(list, "Cluster Cert") || !strings.Contains(list, "u,u,u") {
		t.Errorf("the database has:\n%s", list)
	}
	if h.server.ops[0] != OpVote || len(h.server.ops) != 1 {
		t.Errorf("asked %q", h.server.ops)
	}
	left, _ := filepath.Glob(h.f.root + nssDir + "/bundle*")
	if len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	// A bundle that is none is an error, and asked for again.
	h.f.machine().remove(nssDone)
	h.server.vote.Password = "wrong"
	if err := h.vote(t.Context()); err == nil || h.f.machine().flag(nssDone) {
		t.Errorf("a wrong password: %v", err)
	}
}
