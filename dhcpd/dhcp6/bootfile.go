package dhcp6

// BootFile says what firmware of one client architecture loads first (the NBP).
type BootFile struct {
	// Arch is the client architecture (option 61, RFC 5970 §3.3): IANA's "Processor Architecture Types".
	Arch uint16
	// HTTP: the architecture is one that loads by HTTP; otherwise by TFTP.
	HTTP bool
	// File is the name of the file, relative to the root of the boot services.
	File string
}

// bootFile is the URL that r loads; empty for an operating system, for an architecture that no row is for, and
// where this server has no address that a URL could name.
func (s *Server) bootFile(r *Request, h Host) string {
	if !r.Server.IsValid() {
		return ""
	}
	switch {
	case r.IPXE:
		if s.ScriptURL == nil {
			return ""
		}
		return s.ScriptURL(r)
	case !r.PXE && !r.HTTP, s.FileURL == nil:
		return ""
	}
	name, http := h.BootFile, r.HTTP
	for _, row := range s.BootFiles {
		if row.Arch == r.Arch() && (row.HTTP == r.HTTP || r.VendorClass == "") {
			if name == "" {
				name = row.File
			}
			http = row.HTTP
			break
		}
	}
	if name == "" {
		return ""
	}
	return s.FileURL(r, name, http)
}
