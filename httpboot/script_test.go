package httpboot

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden scripts anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

// handler gives s's routes.
func handler(t testing.TB, s *Server) http.Handler {
	t.Helper()
	if s.Images == nil {
		s.Images = dirImages(t.TempDir())
	}
	h, err := s.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// get asks h as a machine does that reached http://10.77.0.1:8080.
func get(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://10.77.0.1:8080"+target, nil)
	r.RemoteAddr = "10.77.0.100:1025"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const who = "/ipxe?mac=52-54-00-aa-00-01&uuid=3F2B8A52-0000-4000-8000-525400AA0001&arch=x86_64&platform=efi" +
	"&manufacturer:hex=41434d45202620536f6e73&product:hex=5232&serial:hex=4711&asset:hex=&ip=10.77.0.100"

// Whole scripts, as machines get them.
func TestScripts(t *testing.T) {
	web := Script{
		Kind: Boot, Title: "web:7 as web-03", Kernel: "/images/web/7/vmlinuz", Initrd: "/images/web/7/initrd.img",
		Boot: "12", Token: "c0ffee", Address: netip.MustParsePrefix("10.77.0.100/24"), Gateway: netip.MustParseAddr("10.77.0.1"),
		Cmdline: "  mitigations=off\tnet.ifnames=0 ",
	}
	bare := Script{
		Kind: Boot, Title: "rescue", Kernel: "https://mirror.example/k?x=1", Initrd: "/files/rescue.img?v=2",
		Address: netip.MustParsePrefix("192.0.2.1/32"), Servers: []string{"http://10.77.0.2:8080", "http://10.77.0.3:8080"},
	}
	full := web
	full.Key, full.Pin = strings.Repeat("k", 43), strings.Repeat("p", 43)
	full.Root = "squashfs"
	long := web
	long.Cmdline = strings.Repeat("x", cmdlineSize)
	for name, tc := range map[string]struct {
		query  string
		script Script
		err    error
	}{
		"chain.golden":      {query: "/ipxe"},
		"boot.golden":       {query: who, script: web},
		"boot-bare.golden":  {query: "/ipxe?mac=52:54:00:aa:00:01", script: bare},
		"wait.golden":       {query: who, script: Script{Message: "no pool takes this machine; muster node assign 52:54:00:aa:00:01 POOL", Retry: 15 * time.Second}},
		"wait-zero.golden":  {query: who},
		"local.golden":      {query: who, script: Script{Kind: Local, Message: "(declared so)"}},
		"refused.golden":    {query: who, err: fmt.Errorf("roles: %w: pool web has no free slot", fs.ErrExist)},
		"broken.golden":     {query: who, err: errors.New("bbolt: secret path")},
		"no-mac.golden":     {query: "/ipxe?mac=80-00-02-08-fe-80-00-00-00-00-00-00-00-02-c9-03-00-0d-9e-01"},
		"no-kernel.golden":  {query: who, script: Script{Kind: Boot, Initrd: "/images/../x y", Address: web.Address}},
		"no-address.golden": {query: who, script: Script{Kind: Boot, Kernel: "/k", Initrd: "/i"}},
		"boot-full.golden":  {query: who, script: full},
		"long.golden":       {query: who, script: long},
		"injection.golden": {query: "/ipxe?mac=525400aa0001&mac=52-54-00-aa-00-01&product=a%0Ashell%0d&serial=%24%7Bnet0/ip%7D&asset=%F6", script: Script{
			Message: "a\nb || shell && ${mac} \x1b[2J ü"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fixedDirector{script: func(Machine) (Script, error) { return tc.script, tc.err }}
			w := get(handler(t, &Server{Director: d}), tc.query)
			if w.Code != http.StatusOK || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
				t.Errorf("status %d, header %v", w.Code, w.Header())
			}
			golden(t, name, w.Body.String())
		})
	}
}

// With everything that Muster adds, eight servers too, a role has more than half of the command line for
// itself; one character more than x86 takes is an error and no line that is cut.
func TestCmdlineSize(t *testing.T) {
	m := Machine{MAC: "52:54:00:aa:00:01", Base: "http://boot-server-1.rack.example:8080"}
	s := Script{
		Kind: Boot, Token: strings.Repeat("t", 64), Key: strings.Repeat("k", 43), Pin: strings.Repeat("p", 43),
		Address: netip.MustParsePrefix("192.168.100.200/24"), Gateway: netip.MustParseAddr("192.168.100.254"),
	}
	for i := range 7 {
		s.Servers = append(s.Servers, fmt.Sprintf("http://boot-server-%d.rack.example:8080", i+2))
	}
	line, err := cmdline(m, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(line) > cmdlineSize/2 {
		t.Errorf("%d characters are ours: %s", len(line), line)
	}
	s.Cmdline = strings.Repeat("x", cmdlineSize-len(line)-1)
	if line, err = cmdline(m, s); err != nil || len(line) != cmdlineSize {
		t.Errorf("%d characters: %v", len(line), err)
	}
	s.Cmdline += "x"
	want := fmt.Sprintf("2048 characters, Linux takes 2047: shorten the role's, which has %d", len(s.Cmdline))
	if _, err = cmdline(m, s); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	s.Cmdline, s.Pin = "", "a b"
	if _, err = cmdline(m, s); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a pin of two words: %v", err)
	}
}

func TestMachine(t *testing.T) {
	d := &fixedDirector{}
	h := handler(t, &Server{Director: d})
	get(h, who)
	want := Machine{
		MAC: "52:54:00:aa:00:01", UUID: "3f2b8a52-0000-4000-8000-525400aa0001", Arch: "x86_64", Platform: "uefi",
		Manufacturer: "ACME & Sons", Product: "R2", Serial: "G\x11", IP: netip.MustParseAddr("10.77.0.100"),
		Remote: netip.MustParseAddr("10.77.0.100"), Base: "http://10.77.0.1:8080",
	}
	if d.machines[0] != want {
		t.Errorf("got  %+v\nwant %+v", d.machines[0], want)
	}
	// What a script asks again with is the same machine.
	get(h, "/ipxe?"+want.query())
	if d.machines[1] != want {
		t.Errorf("got  %+v\nwant %+v", d.machines[1], want)
	}
	get(h, "/ipxe?mac=52-54-00-aa-00-01&serial="+strings.Repeat("ü", 1000)+"&ip=nonsense&arch=%FF")
	m := d.machines[2]
	if len(m.Serial) > textSize || m.IP.IsValid() || m.Arch != "?" {
		t.Errorf("got %+v", m)
	}
}

func TestTemplates(t *testing.T) {
	const own = "#!ipxe\necho {{.MAC}} is mine: {{.Message}}\n"
	fine := fstest.MapFS{"wait.ipxe": {Data: []byte(own)}, "README": {Data: []byte("{{nothing")}}
	h := handler(t, &Server{Director: &fixedDirector{}, Templates: fine})
	if got := get(h, who).Body.String(); got != "#!ipxe\necho 52:54:00:aa:00:01 is mine: \n" {
		t.Errorf("got %q", got)
	}
	for want, fsys := range map[string]fs.FS{
		"no such script":           fstest.MapFS{"wiat.ipxe": {Data: []byte(own)}},
		"unclosed action":          fstest.MapFS{"wait.ipxe": {Data: []byte("#!ipxe\n{{.MAC")}},
		"can't evaluate field Mac": fstest.MapFS{"wait.ipxe": {Data: []byte("#!ipxe\n{{.Mac}}")}},
		"does not begin with":      fstest.MapFS{"wait.ipxe": {Data: []byte("echo")}},
		"scripts:":                 os.DirFS("/nonexistent"),
	} {
		s := &Server{Director: &fixedDirector{}, Images: dirImages(""), Templates: fsys}
		if _, err := s.Listen("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := (&Server{}).Handler(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without a Director: %v", err)
	}
}

// Whatever a machine or a Director says, a script keeps its commands: no line more, no other first word.
func FuzzScript(f *testing.F) {
	f.Add("mac=52-54-00-aa-00-01&product=x", "title", "message", "a=b", "/k")
	f.Add("mac=52-54-00-aa-00-01&serial=%0A", "t\nshell", "|| shell", "a || shell", "/k?\nshell")
	f.Add("mac=52-54-00-aa-00-01", "", "", "", "a0a::::a\xce\xce")
	f.Fuzz(func(t *testing.T, query, title, message, cmdline, kernel string) {
		sc := Script{Kind: Boot, Title: title, Message: message, Cmdline: cmdline, Kernel: kernel, Initrd: "/i", Address: slirp}
		d := &fixedDirector{script: func(Machine) (Script, error) { return sc, nil }}
		h := handler(t, &Server{Director: d})
		r := httptest.NewRequest(http.MethodGet, "http://h/ipxe", nil)
		r.URL = &url.URL{Path: "/ipxe", RawQuery: query}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		commands := map[string]bool{"": true, "#!ipxe": true, "#": true, "echo": true, "set": true, "imgfree": true, "kernel": true,
			"initrd": true, "boot": true, "isset": true, "inc": true, "iseq": true, "sleep": true, "chain": true, "goto": true,
			"reboot": true, "cpuid": true, "clear": true, ":muster-failed": true, ":muster-restart": true}
		if w.Code != http.StatusOK {
			t.Fatalf("status %d", w.Code)
		}
		for line := range strings.Lines(w.Body.String()) {
			line = strings.TrimSuffix(line, "\n")
			word, _, _ := strings.Cut(line, " ")
			if !commands[word] || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("line %q in:\n%s", line, w.Body)
			}
			if word == "echo" && (strings.Contains(line, " || ") || strings.Contains(line, " && ")) {
				t.Errorf("echo with an operator: %q", line)
			}
		}
	})
}
