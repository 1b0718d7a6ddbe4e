package dhcpd

import "testing"

func TestBootFile(t *testing.T) {
	s := &Server{ScriptURL: func(*Request) string { return "script" }, FileURL: func(_ *Request, file string) string { return "url/" + file }}
	for _, tt := range []struct {
		name string
		r    Request
		h    Host
		want string
	}{
		{"operating system", Request{}, Host{}, ""},
		{"operating system with a file", Request{}, Host{BootFile: "x"}, ""},
		{"BIOS", Request{PXE: true}, Host{}, "undionly.kpxe"},
		{"UEFI", Request{PXE: true, Archs: []uint16{7}}, Host{}, "snponly.efi"},
		{"UEFI that says EBC", Request{PXE: true, Archs: []uint16{9}}, Host{}, "snponly.efi"},
		{"unknown", Request{PXE: true, Archs: []uint16{3}}, Host{}, ""},
		{"unknown with a file", Request{PXE: true, Archs: []uint16{3}}, Host{BootFile: "x"}, "x"},
		{"HTTP", Request{HTTP: true, Archs: []uint16{16}}, Host{}, "url/snponly.efi"},
		{"HTTP with a file", Request{HTTP: true, Archs: []uint16{16}}, Host{BootFile: "x"}, "url/x"},
		{"HTTP arch over TFTP", Request{PXE: true, Archs: []uint16{16}}, Host{}, ""},
		{"BIOS that is not to boot", Request{PXE: true}, Host{NoBoot: true}, ""},
		{"BIOS that is not to boot, with a file", Request{PXE: true}, Host{NoBoot: true, BootFile: "x"}, ""},
		{"HTTP that is not to boot", Request{HTTP: true, Archs: []uint16{16}}, Host{NoBoot: true}, ""},
		{"iPXE that is not to boot", Request{IPXE: true}, Host{NoBoot: true}, ""},
		{"iPXE", Request{IPXE: true, Archs: []uint16{7}}, Host{BootFile: "x"}, "script"},
	} {
		if got := s.bootFile(&tt.r, tt.h, s.quirk(&tt.r)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, r := range []Request{{IPXE: true}, {HTTP: true, Archs: []uint16{16}}} {
		if got := new(Server).bootFile(&r, Host{}, nil); got != "" {
			t.Errorf("without functions: %q", got)
		}
	}
}
