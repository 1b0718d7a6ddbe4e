package strict

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"data", "dhcpd", "tftpd", "httpboot", "listen", "interfaces", "log", "memoryMin"}
	for in, want := range map[string]string{
		"dat": "data", "dhpcd": "dhcpd", "DHCPD": "dhcpd", "tftp": "tftpd", "http": "httpboot", "lisen": "listen",
		"interface": "interfaces", "intrefaces": "interfaces", "logs": "log", "memorymin": "memoryMin", "memory": "memoryMin",
		"foo": "", "x": "", "": "", "colour": "",
	} {
		if got := Nearest(in, words); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
