package images

import "fmt"

// changes says, for people, how a path differs from what it was. Of directories, what is in them counts for
// itself.
func changes(was, is *entry) []string {
	if was.kind != is.kind {
		return []string{fmt.Sprintf("%s, was %s", kindName(is.kind), kindName(was.kind))}
	}
	var all []string
	note := func(differ bool, format string, args ...any) {
		if differ {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	note(was.mode != is.mode, "mode %04o, was %04o", is.mode, was.mode)
	note(was.uid != is.uid || was.gid != is.gid, "owner %d:%d, was %d:%d", is.uid, is.gid, was.uid, was.gid)
	note(was.target != is.target, "link to %q, was %q", is.target, was.target)
	note(was.major != is.major || was.minor != is.minor, "device %d:%d, was %d:%d", is.major, is.minor, was.major, was.minor)
	note(was.size != is.size, "%d bytes, were %d", is.size, was.size)
	note(is.kind == 'f' && was.sum != is.sum && was.size == is.size, "other content of %d bytes", is.size)
	return append(all, xattrChanges(was.xattrs, is.xattrs)...)
}

// xattrChanges compares extended attributes, which are by name.
func xattrChanges(was, is []xattr) []string {
	var all []string
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].name < is[0].name:
			all = append(all, fmt.Sprintf("without %s, which was %q", was[0].name, was[0].value))
			was = was[1:]
		case len(was) == 0 || is[0].name < was[0].name:
			all = append(all, fmt.Sprintf("with %s, which is %q", is[0].name, is[0].value))
			is = is[1:]
		default:
			if was[0].value != is[0].value {
				all = append(all, fmt.Sprintf("%s is %q, was %q", is[0].name, is[0].value, was[0].value))
			}
			was, is = was[1:], is[1:]
		}
	}
	return all
}

func kindName(kind byte) string {
	switch kind {
	case 'f':
		return "a file"
	case 'd':
		return "a directory"
	case 'l':
		return "a symbolic link"
	case 'c':
		return "a character device"
	case 'b':
		return "a block device"
	case 'p':
		return "a FIFO"
	}
	return "a socket"
}
