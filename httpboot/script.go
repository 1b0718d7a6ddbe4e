package httpboot

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"muster/httpboot/agent"
)

//go:embed templates/*.ipxe
var builtin embed.FS

// Names of the scripts. retry.ipxe is a part of the others.
const (
	chainScript = "chain.ipxe"
	bootScript  = "boot.ipxe"
	waitScript  = "wait.ipxe"
	localScript = "local.ipxe"
	retryScript = "retry.ipxe"
)

var scriptNames = []string{chainScript, bootScript, waitScript, localScript, retryScript}

// errNoMAC is the kind of a NIC that cannot boot here.
var errNoMAC = fmt.Errorf("httpboot: %w", fs.ErrInvalid)

// page is what a template sees. Every text in it is safe to print: no line breaks, no ${…}.
type page struct {
	MAC, UUID, Arch, Platform, Manufacturer, Product, Serial, Asset string
	// Base is this server's URL, Again the URL that asks for this machine's script again.
	Base, Again string
	// Title, Message and Retry (seconds) are the Director's.
	Title, Message string
	Retry          int
	// Kernel and Initrd are whole URLs, Cmdline the whole command line.
	Kernel, Initrd, Cmdline string
}

// scripts renders iPXE scripts.
type scripts struct{ t *template.Template }

// parseScripts reads the built-in templates and what override has instead, and runs each once: a field
// that does not exist is an error now. It reports every fault.
func parseScripts(override fs.FS) (*scripts, error) {
	t := template.New("").Option("missingkey=error")
	var errs []error
	read := func(fsys fs.FS, name string) {
		b, err := fs.ReadFile(fsys, name)
		if err == nil {
			_, err = t.New(name[strings.LastIndexByte(name, '/')+1:]).Parse(string(b))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("httpboot: script %s: %w", name, err))
		}
	}
	for _, name := range scriptNames {
		read(builtin, "templates/"+name)
	}
	if override != nil {
		names, err := fs.Glob(override, "*.ipxe")
		if err == nil {
			_, err = fs.Stat(override, ".")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("httpboot: scripts: %w", err))
		}
		for _, name := range names {
			if !slices.Contains(scriptNames, name) {
				errs = append(errs, fmt.Errorf("httpboot: script %s: no such script (there are %s): %w",
					name, strings.Join(scriptNames, ", "), fs.ErrInvalid))
				continue
			}
			read(override, name)
		}
	}
	s := &scripts{t}
	if len(errs) == 0 {
		for _, name := range scriptNames {
			b, err := s.render(name, page{})
			if err == nil && name != retryScript && !bytes.HasPrefix(b, []byte("#!ipxe\n")) {
				err = fmt.Errorf("does not begin with #!ipxe: %w", fs.ErrInvalid)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("httpboot: script %s: %w", name, err))
			}
		}
	}
	return s, errors.Join(errs...)
}

func (s *scripts) render(name string, p page) ([]byte, error) {
	var b bytes.Buffer
	err := s.t.ExecuteTemplate(&b, name, p)
	return b.Bytes(), err
}

// ipxe answers with a script, whatever happens: iPXE shows a machine's technician no more than a number
// when it gets an error.
func (s *Server) ipxe(w http.ResponseWriter, r *http.Request) error {
	m, known, err := machine(r)
	p := newPage(m)
	if !known {
		return s.writeScript(w, "chain", chainScript, p)
	}
	var sc Script
	if err == nil {
		sc, err = s.Director.Script(r.Context(), m)
	} else {
		s.metrics.reject("ipxe", "mac")
	}
	if err == nil {
		err = p.fill(m, sc)
	}
	if err != nil {
		s.Log.Warn("no script", "mac", m.MAC, "remote", m.Remote, "err", err)
		p.Title, p.Message, p.Retry = "", safe(message(err)), 10
		return s.writeScript(w, "error", waitScript, p)
	}
	switch sc.Kind {
	case Boot:
		return s.writeScript(w, "boot", bootScript, p)
	case Local:
		return s.writeScript(w, "local", localScript, p)
	}
	return s.writeScript(w, "wait", waitScript, p)
}

// message is what a machine's screen says of err: the details of what nobody there can act on are in the
// log only.
func message(err error) string {
	if Status(err) == http.StatusInternalServerError {
		return "the boot server has a problem; its log says more"
	}
	return err.Error()
}

func (s *Server) writeScript(w http.ResponseWriter, kind, name string, p page) error {
	b, err := s.scripts.render(name, p)
	if err != nil {
		return err
	}
	s.metrics.script(kind)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b) // an error here is the machine's end; it asks again
	return nil
}

func newPage(m Machine) page {
	return page{
		MAC: m.MAC, UUID: safe(m.UUID), Arch: safe(m.Arch), Platform: safe(m.Platform),
		Manufacturer: safe(m.Manufacturer), Product: safe(m.Product), Serial: safe(m.Serial), Asset: safe(m.Asset),
		Base: m.Base, Again: m.Base + "/ipxe?" + m.query(), Retry: 5,
	}
}

// fill adds what the Director said. The error wraps fs.ErrInvalid: the Director's mistake, which the
// machine shows.
func (p *page) fill(m Machine, s Script) error {
	p.Title, p.Message = safe(s.Title), safe(s.Message)
	if s.Retry > 0 {
		p.Retry = max(1, int(s.Retry/time.Second))
	}
	if s.Kind != Boot {
		return nil
	}
	var errs [3]error
	p.Kernel, errs[0] = bootURL(m, s, s.Kernel)
	p.Initrd, errs[1] = bootURL(m, s, s.Initrd)
	p.Cmdline, errs[2] = cmdline(m, s)
	return errors.Join(errs[:]...)
}

// bootURL makes a whole URL of a path on this server, and tells the server whose boot it is.
func bootURL(m Machine, s Script, ref string) (string, error) {
	u, err := url.Parse(ref)
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '$' } // a URL is ASCII: the rest is %-encoded (RFC 3986 section 2)
	if err != nil || ref == "" || strings.ContainsFunc(ref, odd) || u.IsAbs() && u.Host == "" {
		return "", fmt.Errorf("httpboot: boot file %q is no URL: %w", ref, fs.ErrInvalid)
	}
	if u.IsAbs() {
		return u.String(), nil
	}
	if !strings.HasPrefix(u.Path, "/") {
		return "", fmt.Errorf("httpboot: boot file %q does not begin with a slash: %w", ref, fs.ErrInvalid)
	}
	q := u.Query()
	q.Set("mac", strings.ReplaceAll(m.MAC, ":", "-"))
	if s.Boot != "" {
		q.Set("boot", s.Boot)
	}
	u.RawQuery = q.Encode()
	return m.Base + u.String(), nil
}

// cmdlineSize is x86's COMMAND_LINE_SIZE less its final zero: the kernel cuts the rest off in silence.
const cmdlineSize = 2047

// cmdline is the kernel's whole command line.
//
// initrd= names the initrd as iPXE does: UEFI kernels look for it by that name. The screen and the first
// serial port both show the boot; the last console is the one that /dev/console means. panic= restarts a
// machine whose kernel cannot go on. loglevel=6 leaves out what is only information: some 25 KB, which a serial
// line at 115200 baud carries in two seconds while the kernel waits. cryptomgr.notests=1 leaves out the self-tests
// of the kernel's ciphers, as kernels do by upstream's default and Debian's do not: a third of all that a virtual
// machine computes until its init starts.
func cmdline(m Machine, s Script) (string, error) {
	if !s.Address.IsValid() || s.Address.Addr().IsUnspecified() {
		return "", fmt.Errorf("httpboot: a boot needs the machine's address: %w", fs.ErrInvalid)
	}
	words := []string{
		"initrd=" + initrdFile, "console=tty0", "console=ttyS0,115200n8", "panic=60", "loglevel=6", "cryptomgr.notests=1",
		agent.ParamServer + "=" + strings.Join(append([]string{cmp.Or(s.Server, m.Base)}, s.Servers...), ","),
		agent.ParamMAC + "=" + m.MAC,
		agent.ParamAddress + "=" + s.Address.String(),
	}
	if s.Gateway != (netip.Addr{}) {
		words = append(words, agent.ParamGateway+"="+s.Gateway.String())
	}
	for _, p := range []struct{ name, value string }{
		{agent.ParamToken, s.Token}, {agent.ParamKey, s.Key}, {agent.ParamPin, s.Pin}, {agent.ParamRoot, s.Root},
	} {
		if p.value != "" {
			words = append(words, p.name+"="+p.value)
		}
	}
	ours := len(words)
	words = append(words, strings.Fields(s.Cmdline)...)
	for i, word := range words {
		if safe(word) != word || (i < ours && strings.ContainsAny(word, " \t\n")) {
			return "", fmt.Errorf("httpboot: %q cannot be on a kernel command line of iPXE: %w", word, fs.ErrInvalid)
		}
	}
	line := strings.Join(words, " ")
	if len(line) > cmdlineSize {
		return "", fmt.Errorf("httpboot: the kernel command line has %d characters, Linux takes %d: "+
			"shorten the role's, which has %d: %w", len(line), cmdlineSize, len(s.Cmdline), fs.ErrInvalid)
	}
	return line, nil
}

// safe makes a text that iPXE prints as it is, in one line: printable ASCII, no ${…}, no words that are
// operators.
func safe(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s)
	s = strings.ReplaceAll(s, "${", "$(")
	words := strings.Split(s, " ")
	for i, w := range words {
		if w == "||" || w == "&&" {
			words[i] = w[:1]
		}
	}
	return strings.Join(words, " ")
}
