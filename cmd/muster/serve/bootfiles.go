package serve

import (
	"io/fs"

	"muster/dhcpd"
)

// bootFiles is DHCP's table without the files that are not there: a machine is told nothing rather than something that
// it cannot load.
func (s *server) bootFiles() []dhcpd.BootFile {
	out := []dhcpd.BootFile{}
	for _, b := range dhcpd.DefaultBootFiles {
		if f, err := fs.Stat(s.programs, b.File); err == nil && f.Mode().IsRegular() {
			out = append(out, b)
		}
	}
	return out
}
