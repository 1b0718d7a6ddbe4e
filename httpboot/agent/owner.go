package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// owners looks up user:group by the names of a root, whose files it reads once. (os/user would ask this
// machine's, and pulls in more than it is worth.)
type owners struct {
	root inRoot
	// users and groups are /etc/passwd and /etc/group; nil until they are needed.
	users, groups map[string]owner
}

// owner is a user's ids, or a group's gid.
type owner struct{ uid, gid int }

// accountsSize bounds /etc/passwd and /etc/group.
const accountsSize = 16 << 20

// find gives the ids of "user:group", of names or numbers. Empty is root:root; a user without a group has the
// one of /etc/passwd. The error wraps fs.ErrInvalid and names what the image does not have.
func (o *owners) find(spec string) (owner, error) {
	if spec == "" {
		return owner{}, nil
	}
	user, group, both := strings.Cut(spec, ":")
	if user == "" || both && group == "" {
		return owner{}, fmt.Errorf("owner %q is not user:group: %w", spec, fs.ErrInvalid)
	}
	var out owner
	uid, err := strconv.ParseUint(user, 10, 31)
	out.uid = int(uid)
	switch {
	case err != nil:
		if out, err = o.look(&o.users, "/etc/passwd", user); err != nil {
			return owner{}, fmt.Errorf("owner %q: %w", spec, err)
		}
	case !both:
		return owner{}, fmt.Errorf("owner %q: a numeric user needs a group: %w", spec, fs.ErrInvalid)
	}
	if !both {
		return out, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		out.gid = int(gid)
		return out, nil
	}
	g, err := o.look(&o.groups, "/etc/group", group)
	if err != nil {
		return owner{}, fmt.Errorf("owner %q: %w", spec, err)
	}
	out.gid = g.gid
	return out, nil
}

// look finds name in one of the two files.
func (o *owners) look(in *map[string]owner, file, name string) (owner, error) {
	if *in == nil {
		b, err := o.root.read(file, accountsSize)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return owner{}, err
		}
		*in = accounts(b)
	}
	found, ok := (*in)[name]
	if !ok {
		return owner{}, fmt.Errorf("the image has no %q in %s: %w", name, file, fs.ErrInvalid)
	}
	return found, nil
}

// accounts reads passwd(5) (name:x:uid:gid:…) or group(5) (name:x:gid:…); the first line of a name counts, as in
// the C library. Lines that are something else are passed over.
func accounts(b []byte) map[string]owner {
	out := map[string]owner{}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		f := strings.Split(sc.Text(), ":")
		if len(f) < 4 {
			continue
		}
		id, err := strconv.ParseUint(f[2], 10, 31)
		if err != nil {
			continue
		}
		entry := owner{uid: int(id), gid: int(id)}
		if len(f) >= 7 { // a user
			gid, err := strconv.ParseUint(f[3], 10, 31)
			if err != nil {
				continue
			}
			entry.gid = int(gid)
		}
		if _, ok := out[f[0]]; !ok {
			out[f[0]] = entry
		}
	}
	return out
}
