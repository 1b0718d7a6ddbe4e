package pair

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// exportsFile is read by exportfs beside /etc/exports.
const exportsFile = "/etc/exports.d/muster-pair.exports"

// offer is one mount point below ExportDir that is exported.
type offer struct {
	// path is relative to ExportDir, and is what clients mount.
	path string
	// file is the squashfs that is mounted there; "" for a directory of the volume.
	file    string
	exports []Export
}

// offers is what contents mean for the export: one mount point for each image and for each exported directory. An
// image is exported to those who may mount it or a directory above it. What is no path or no image is left out, and in the
// error.
func offers(c Contents) (out []offer, err error) {
	var errs []error
	var exports []Export
	for _, e := range c.Exports {
		if e.Path != "" && !safePath(e.Path) {
			errs = append(errs, fmt.Errorf("pair: export %q is no path", e.Path))
			continue
		}
		exports = append(exports, e)
	}
	for _, i := range c.Images {
		if !i.safe() {
			errs = append(errs, fmt.Errorf("pair: image %q is none", i.ref()))
			continue
		}
		o := offer{path: i.path(), file: i.file()}
		for _, e := range exports {
			if e.Path == o.path || e.Path != "" && strings.HasPrefix(o.path, e.Path+"/") {
				e.ReadOnly = true // as a squashfs is
				o.exports = append(o.exports, e)
			}
		}
		out = append(out, o)
	}
	for _, e := range exports {
		if e.Path == "" || e.Path == "images" || strings.HasPrefix(e.Path, "images/") {
			continue
		}
		if at := slices.IndexFunc(out, func(o offer) bool { return o.path == e.Path }); at >= 0 {
			out[at].exports = append(out[at].exports, e)
			continue
		}
		out = append(out, offer{path: e.Path, exports: []Export{e}})
	}
	// A mount point comes before those in it.
	slices.SortFunc(out, func(a, b offer) int { return strings.Compare(a.path, b.path) })
	return out, errors.Join(errs...)
}

// exportsText is what exportfs reads: the root for everybody who may mount anything, and each offer.
func exportsText(c Contents, all []offer) string {
	var b strings.Builder
	b.WriteString("# Written by muster's storage pair; changes are lost.\n")
	var everybody []netip.Prefix
	for _, e := range c.Exports {
		everybody = append(everybody, e.Clients...)
	}
	line(&b, ExportDir, clients(everybody), "ro,sync,no_subtree_check,root_squash,fsid=0")
	for _, o := range all {
		for _, e := range o.exports {
			opts := []string{"rw", "sync", "no_subtree_check", "root_squash", "fsid=" + fsid(o.path)}
			if e.ReadOnly {
				opts[0] = "ro"
			}
			if e.NoRootSquash {
				opts[3] = "no_root_squash"
			}
			line(&b, ExportDir+"/"+o.path, clients(e.Clients), strings.Join(opts, ","))
		}
	}
	return b.String()
}

func line(b *strings.Builder, dir string, clients []string, options string) {
	if len(clients) == 0 {
		return
	}
	b.WriteString(dir)
	for _, c := range clients {
		fmt.Fprintf(b, " %s(%s)", c, options)
	}
	b.WriteString("\n")
}

func clients(all []netip.Prefix) []string {
	var out []string
	for _, p := range all {
		if !p.IsValid() {
			continue
		}
		p = p.Masked()
		s := p.String()
		if p.IsSingleIP() {
			s = p.Addr().String()
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fsid is in the file handles that clients keep, so it must be the same on both machines, and nothing of a mount's
// device is.
func fsid(path string) string {
	h := sha256.Sum256([]byte("muster pair " + path))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func (i Image) ref() string  { return fmt.Sprintf("%s:%d", i.Name, i.Version) }
func (i Image) path() string { return fmt.Sprintf("images/%s/%d", i.Name, i.Version) }

// file is where the squashfs is on the volume.
func (i Image) file() string {
	return fmt.Sprintf("%s/images/%s/%d.squashfs", Volume, i.Name, i.Version)
}

func (i Image) safe() bool { return safeName(i.Name) && i.Version > 0 && i.Size > 0 }
