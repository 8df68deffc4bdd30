package config

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest returns the candidate that name was probably meant to be, or "".
// Letters left out, doubled, exchanged or swapped count one each; up to a third
// of the name may be wrong. Else it may be the end of one candidate alone: a key
// without the word in front.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", min(3, max(1, len(name)/3))+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" && name != "" {
		return endOf(strings.ToLower(name), candidates)
	}
	return best
}

// endOf returns the only candidate that ends with name behind a hyphen, or "".
func endOf(name string, candidates []string) (found string) {
	for _, c := range candidates {
		if strings.HasSuffix(strings.ToLower(c), "-"+name) {
			if found != "" {
				return ""
			}
			found = c
		}
	}
	return found
}

// hintFor returns "did you mean …?", else the list if it is short, else "".
func hintFor(name string, candidates []string, noun string) string {
	if n := Nearest(name, candidates); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	return noun + ": " + strings.Join(sorted, ", ")
}

// distance is the number of edits (insert, delete, replace, swap neighbours).
func distance(a, b string) int {
	// Names are short; a long one is foreign text and near to nothing.
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
