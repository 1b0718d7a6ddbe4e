package config

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"data", "dhcpd", "tftpd", "httpboot", "listen", "interfaces", "log"}
	for in, want := range map[string]string{
		"dat": "data", "dhpcd": "dhcpd", "DHCPD": "dhcpd", "tftp": "tftpd", "http": "httpboot", "lisen": "listen",
		"interface": "interfaces", "intrefaces": "interfaces", "logs": "log",
		"foo": "", "x": "", "": "", "colour": "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
