package dhcpd

// BootFile says what firmware of one client architecture loads first (the NBP). Names are relative to the
// root of the boot services.
type BootFile struct {
	// Arch is the client architecture (option 93): RFC 4578 §2.1, and IANA's "Processor Architecture Types" of RFC 5970,
	// which go on where it ends.
	Arch uint16
	// HTTP: the architecture is one that loads by HTTP, and is told a URL instead of a name.
	HTTP bool
	// File is the name of the file.
	File string
}

// DefaultBootFiles are builds of iPXE that drive the network card through the firmware (UNDI, SNP), because that works for
// any card that could load them in the first place. Those without an architecture in their names are files of Debian's
// ipxe package; the others are for who builds them (bin-arm64-efi/snponly.efi) and puts them where the boot services find
// them. Architectures that are not here (IANA's 1 to 5, 8, 12 to 14, 17, 20, 23, 24 and 29 to 38) have no iPXE, or no
// machines.
var DefaultBootFiles = []BootFile{
	{Arch: 0, File: "undionly.kpxe"}, // x86 BIOS
	{Arch: 6, File: "snponly-i386.efi"},
	{Arch: 7, File: "snponly.efi"}, // x64 UEFI, by IANA's registry
	// EBC in IANA's registry; RFC 4578 as printed had x64 here (see its errata), and some x64 firmware says 9: VMware's,
	// OVMF of old (github.com/danderson/netboot pull request 30, crowbar/barclamp-provisioner pull request 180).
	{Arch: 9, File: "snponly.efi"},
	{Arch: 10, File: "snponly-arm32.efi"},
	{Arch: 11, File: "snponly-arm64.efi"},
	{Arch: 15, HTTP: true, File: "snponly-i386.efi"},
	{Arch: 16, HTTP: true, File: "snponly.efi"}, // x64 UEFI, boot from HTTP
	{Arch: 18, HTTP: true, File: "snponly-arm32.efi"},
	{Arch: 19, HTTP: true, File: "snponly-arm64.efi"},
	{Arch: 21, File: "snponly-arm32.efi"}, // U-Boot, which starts UEFI programs
	{Arch: 22, File: "snponly-arm64.efi"},
	{Arch: 25, File: "snponly-riscv32.efi"},
	{Arch: 26, HTTP: true, File: "snponly-riscv32.efi"},
	{Arch: 27, File: "snponly-riscv64.efi"},
	{Arch: 28, HTTP: true, File: "snponly-riscv64.efi"},
	{Arch: 39, File: "snponly-loong64.efi"},
	{Arch: 40, HTTP: true, File: "snponly-loong64.efi"},
	{Arch: archRPi, File: "bootcode.bin"}, // the Raspberry Pi's firmware loads no iPXE: see quirks
}

// bootFile is what r loads: a name, or a URL, or nothing for an operating system and for an architecture that
// no row is for.
func (s *Server) bootFile(r *Request, h Host, q *quirk) string {
	switch {
	case h.NoBoot:
		return ""
	case r.IPXE:
		if s.ScriptURL == nil {
			return ""
		}
		return s.ScriptURL(r)
	case !r.PXE && !r.HTTP:
		return ""
	}
	arch, table := r.Arch(), s.bootFiles()
	switch {
	case q != nil && q.arch != nil:
		arch = *q.arch
	case q != nil && q.boots && len(r.Archs) == 0:
		table = nil // who says none is an x86 BIOS only if it is a PXEClient
	}
	name := h.BootFile
	for i := 0; name == "" && i < len(table); i++ {
		if table[i].Arch == arch && table[i].HTTP == r.HTTP {
			name = table[i].File
		}
	}
	if name == "" || !r.HTTP {
		return name
	}
	if s.FileURL == nil {
		return ""
	}
	return s.FileURL(r, name)
}
