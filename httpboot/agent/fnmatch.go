package agent

import "strings"

// fnmatch is fnmatch(3) without flags: * and ? match any character, a slash too, and [a-f] is a class.
// (path.Match stops at slashes; DMI's aliases hold dates.)
func fnmatch(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if n, ok := matchOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches c with the first element of p and gives that element's length.
func matchOne(p string, c byte) (int, bool) {
	switch {
	case p == "":
		return 0, false
	case p[0] == '?':
		return 1, true
	case p[0] != '[':
		return 1, p[0] == c
	}
	end := strings.IndexByte(p, ']')
	if end < 2 {
		return 1, c == '['
	}
	class, hit := p[1:end], false
	not := class[0] == '!' || class[0] == '^'
	if not {
		class = class[1:]
	}
	for k := 0; k < len(class); k++ {
		if k+2 < len(class) && class[k+1] == '-' {
			hit = hit || (class[k] <= c && c <= class[k+2])
			k += 2
			continue
		}
		hit = hit || class[k] == c
	}
	return end + 1, hit != not
}
