package strict

import "strings"

// Nearest returns the candidate that key was probably meant to be, or "" when none is close: at most a
// third of its letters differ, or the one begins with the other.
func Nearest(key string, candidates []string) string {
	best, at := "", len(key)/3+1
	low := strings.ToLower(key)
	for _, c := range candidates {
		word := strings.ToLower(c)
		d := distance(low, word)
		if len(low) > 2 && (strings.HasPrefix(word, low) || strings.HasPrefix(low, word)) {
			d = min(d, 1)
		}
		if d < at {
			best, at = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap to make b of a (optimal string
// alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
