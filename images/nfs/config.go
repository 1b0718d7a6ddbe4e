package nfs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// config renders ganesha.conf(5).
func (g *Ganesha) config(exports []Export) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by Muster at every change; do not edit.
NFS_CORE_PARAM {
	Protocols = 3, 4;
	NFS_Port = %d;
	MNT_Port = %d;
	# A version 3 client names the same path as a version 4 one.
	mount_path_pseudo = true;
	# Nodes lock locally. UDP only loses large reads.
	Enable_NLM = false;
	Enable_RQUOTA = false;
	Enable_UDP = false;
	Plugins_Dir = "%s";
}
NFSv4 {
	# No node holds a lock here that would have to be reclaimed: serve at once after a restart.
	Graceless = true;
	# Owners are the image's numbers; this machine's names for them mean nothing to a node.
	Only_Numeric_Owners = true;
	RecoveryRoot = "%s";
}
NFS_KRB5 {
	Active_krb5 = false;
	CCacheDir = "%s";
}
EXPORT_DEFAULTS {
	Access_Type = None;
	SecType = sys;
	Transports = TCP;
	# New versions, volumes and state directories are made behind the server's back: ask the disk.
	Attr_Expiration_Time = 0;
}
LOG {
	Default_Log_Level = EVENT;
}
`, g.port(), g.mountPort(), filepath.Dir(g.plugin), filepath.Join(g.Dir, "recovery"), filepath.Join(g.Dir, "krb5"))
	id := ids(exports)
	for _, e := range exports {
		fmt.Fprintf(&b, `EXPORT {
	Export_Id = %d;
	Path = "%s";
	Pseudo = "%[2]s";
	Protocols = 3, 4;
	Access_Type = None;
	FSAL { Name = VFS; }
`, id[e.Path], e.Path)
		if len(e.Clients) > 0 {
			fmt.Fprintf(&b, "\tCLIENT { Clients = %s; Access_Type = %s; Squash = %s; }\n", clients(e), access(e), squash(e))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// clients is sorted: the same list in another order is no change.
func clients(e Export) string {
	var all []string
	for _, c := range e.Clients {
		all = append(all, c.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func access(e Export) string {
	if e.ReadOnly {
		return "RO"
	}
	return "RW"
}

func squash(e Export) string {
	if e.NoRootSquash {
		return "no_root_squash"
	}
	return "root_squash"
}
