package images

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A manifest is a file of lines, the first of which is manifestHeader. Each other line is one path of a
// version, a directory before what is in it and names by their bytes. A directory's line carries the SHA-256
// over the lines (with their newlines) of the paths directly in it, and those of directories among them do
// the same: equal digests are equal subtrees, and Image.Digest, over the lines of the three paths at the top,
// covers everything. Times are not in it, because a root file system gives them no meaning and copies differ
// in them; nor is which paths are hard links of one file, because sharing makes links and a copy undoes them.
const manifestHeader = "muster manifest 2"

// covered are the parts of a version's directory that its manifest covers, in its order: not itself, and
// not image.json, which holds its digest.
var covered = []string{InitrdFile, TreeDir, KernelFile}

// entry is one path of an image with everything that must not change.
type entry struct {
	path string // relative to the version's directory, raw bytes
	// kind is f, d, l (symbolic link), c, b (devices), p (FIFO) or s (socket).
	kind     byte
	mode     uint32 // permission bits with setuid, setgid and sticky
	uid, gid uint32
	size     int64  // of a file
	major    uint32 // of a device
	minor    uint32
	target   string // of a link
	// sum is the SHA-256 of a file's content, or of the lines of what is in a directory.
	sum    [sha256.Size]byte
	xattrs []xattr // by name
	// own says that a file of a new version is stored for itself alone. It is in no manifest.
	own bool
}

// xattr is one extended attribute; file capabilities and ACLs are such.
type xattr struct{ name, value string }

// String is the entry's line in a manifest:
//
//	kind mode uid:gid detail "path" ["name"="value"…]
//
// Detail is size and sha256 of a file, the sha256 of a directory, the quoted target of a link, major:minor of
// a device, or "-". Quoting is Go's, with ASCII only: names may hold newlines and bytes that are no UTF-8.
func (e entry) String() string { return string(e.appendTo(nil)) }

// appendTo appends the line to b.
func (e *entry) appendTo(b []byte) []byte {
	b = append(b, e.kind, ' ')
	b = fmt.Appendf(b, "%04o", e.mode)
	b = append(strconv.AppendUint(append(b, ' '), uint64(e.uid), 10), ':')
	b = append(strconv.AppendUint(b, uint64(e.gid), 10), ' ')
	switch e.kind {
	case 'f':
		b = append(strconv.AppendInt(b, e.size, 10), ' ')
		b = hex.AppendEncode(b, e.sum[:])
	case 'd':
		b = hex.AppendEncode(b, e.sum[:])
	case 'l':
		b = strconv.AppendQuoteToASCII(b, e.target)
	case 'c', 'b':
		b = append(strconv.AppendUint(b, uint64(e.major), 10), ':')
		b = strconv.AppendUint(b, uint64(e.minor), 10)
	default:
		b = append(b, '-')
	}
	b = strconv.AppendQuoteToASCII(append(b, ' '), e.path)
	for _, x := range e.xattrs {
		b = strconv.AppendQuoteToASCII(append(b, ' '), x.name)
		b = strconv.AppendQuoteToASCII(append(b, '='), x.value)
	}
	return b
}

// parseEntry reads what String writes, and nothing else: a line has one form. The error wraps fs.ErrInvalid.
func parseEntry(line string) (entry, error) {
	var e entry
	p := lineParser{rest: line}
	if kind := p.word(); len(kind) == 1 {
		e.kind = kind[0]
	}
	e.mode = uint32(p.number(8))
	e.uid, e.gid = p.pair()
	switch e.kind {
	case 'f':
		e.size = int64(p.number(10))
		p.sum(&e.sum)
	case 'd':
		p.sum(&e.sum)
	case 'l':
		e.target = p.quoted()
		p.literal(" ")
	case 'c', 'b':
		e.major, e.minor = p.pair()
	case 'p', 's':
		p.literal("- ")
	default:
		p.bad = true
	}
	e.path = p.quoted()
	for !p.bad && p.rest != "" {
		p.literal(" ")
		name := p.quoted()
		p.literal("=")
		e.xattrs = append(e.xattrs, xattr{name, p.quoted()})
	}
	if p.bad || e.mode > 0o7777 || !validPath(e.path) || e.String() != line {
		return entry{}, fmt.Errorf("%q is no line of a manifest: %w", line, fs.ErrInvalid)
	}
	return e, nil
}

// lineParser takes a line apart. After the first fault everything is empty.
type lineParser struct {
	rest string
	bad  bool
}

// word takes what is before the next space, and the space.
func (p *lineParser) word() string {
	word, rest, found := strings.Cut(p.rest, " ")
	if p.bad = p.bad || !found; p.bad {
		return ""
	}
	p.rest = rest
	return word
}

func (p *lineParser) literal(s string) {
	rest, found := strings.CutPrefix(p.rest, s)
	p.bad = p.bad || !found
	p.rest = rest
}

func (p *lineParser) number(base int) uint64 { return p.parse(p.word(), base, 63) }

func (p *lineParser) parse(s string, base, bits int) uint64 {
	n, err := strconv.ParseUint(s, base, bits)
	p.bad = p.bad || err != nil
	return n
}

// pair reads two numbers, "0:0".
func (p *lineParser) pair() (uint32, uint32) {
	a, b, _ := strings.Cut(p.word(), ":")
	return uint32(p.parse(a, 10, 32)), uint32(p.parse(b, 10, 32))
}

func (p *lineParser) sum(to *[sha256.Size]byte) {
	word := p.word()
	if p.bad = p.bad || len(word) != 2*sha256.Size; p.bad {
		return
	}
	_, err := hex.Decode(to[:], []byte(word))
	p.bad = err != nil
}

func (p *lineParser) quoted() string {
	q, err := strconv.QuotedPrefix(p.rest)
	if p.bad = p.bad || err != nil; p.bad {
		return ""
	}
	p.rest = p.rest[len(q):]
	s, err := strconv.Unquote(q)
	p.bad = err != nil
	return s
}

// validPath says whether a manifest may name p: what it covers, and nothing outside of it.
func validPath(p string) bool {
	if strings.Contains(p, "\x00") || path.Clean(p) != p {
		return false
	}
	top, _, deep := strings.Cut(p, "/")
	return slices.Contains(covered, top) && (!deep || top == TreeDir)
}

// comparePaths is the order of a manifest: a directory, what is in it, and then what is after it.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			switch {
			case a[i] == '/':
				return -1
			case b[i] == '/':
				return 1
			}
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// within says whether p is below the directory dir.
func within(p, dir string) bool {
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// sameAttributes says whether a and b are files of one mode, owner and extended attributes.
func sameAttributes(a, b *entry) bool {
	return a.kind == b.kind && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && slices.Equal(a.xattrs, b.xattrs)
}

func inTree(path string) bool { return within(path, TreeDir) }
