package httpboot

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestScriptOverIPv6: who loads over IPv6 goes on loading there; its agent, which has no IPv6, is told another URL.
func TestScriptOverIPv6(t *testing.T) {
	var asked Machine
	d := &fixedDirector{script: func(m Machine) (Script, error) {
		asked = m
		return Script{Kind: Boot, Title: "web:7", Kernel: "/k", Initrd: "/i", Address: netip.MustParsePrefix("10.77.0.100/24"),
			Server: "http://10.77.0.1:8080", Servers: []string{"http://10.77.0.2:8080"}}, nil
	}}
	r := httptest.NewRequest(http.MethodGet, "http://[fd77::1]:8080/ipxe?mac=52-54-00-aa-00-01&ip=10.77.0.100", nil)
	r.RemoteAddr = "[fd77::1:2]:1025"
	w := httptest.NewRecorder()
	handler(t, &Server{Director: d}).ServeHTTP(w, r)
	for _, want := range []string{"\nkernel --name vmlinuz http://[fd77::1]:8080/k?mac=52-54-00-aa-00-01 ", "\ninitrd --name initrd.img http://[fd77::1]:8080/i?",
		" muster.server=http://10.77.0.1:8080,http://10.77.0.2:8080 "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, w.Body)
		}
	}
	if asked.Remote != netip.MustParseAddr("fd77::1:2") || asked.IP != netip.MustParseAddr("10.77.0.100") {
		t.Errorf("the machine is at %s, says %s", asked.Remote, asked.IP)
	}
}
