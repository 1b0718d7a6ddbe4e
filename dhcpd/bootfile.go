package dhcpd

// BootFile says what firmware of one client architecture loads first (the NBP). Names are relative to the
// root of the boot services.
type BootFile struct {
	// Arch is the client architecture (option 93): RFC 4578 §2.1 and IANA's "Processor Architecture Types".
	Arch uint16
	// HTTP: the architecture is one that loads by HTTP, and is told a URL instead of a name.
	HTTP bool
	// File is the name of the file.
	File string
}

// DefaultBootFiles are the files of Debian's ipxe package: the ones that drive the network card through the
// firmware (UNDI, SNP), because that works for any card that could load them in the first place.
var DefaultBootFiles = []BootFile{
	{Arch: 0, File: "undionly.kpxe"}, // x86 BIOS
	{Arch: 7, File: "snponly.efi"},   // x64 UEFI, by IANA's registry
	// EBC in IANA's registry; RFC 4578 as printed had x64 here, and much x64 firmware says 9.
	{Arch: 9, File: "snponly.efi"},
	{Arch: 16, HTTP: true, File: "snponly.efi"}, // x64 UEFI, boot from HTTP
}

// bootFile is what r loads: a name, or a URL, or nothing for an operating system and for an architecture that
// no row is for. script is set for iPXE, file for firmware.
func bootFile(r *Request, h Host, table []BootFile, script func(*Request) string, url func(*Request, string) string) string {
	switch {
	case h.NoBoot:
		return ""
	case r.IPXE:
		if script == nil {
			return ""
		}
		return script(r)
	case !r.PXE && !r.HTTP:
		return ""
	}
	name := h.BootFile
	for i := 0; name == "" && i < len(table); i++ {
		if table[i].Arch == r.Arch() && table[i].HTTP == r.HTTP {
			name = table[i].File
		}
	}
	if name == "" || !r.HTTP {
		return name
	}
	if url == nil {
		return ""
	}
	return url(r, name)
}
