package config

import (
	"fmt"
	"math"
	"strings"
)

// Nearest returns the word of known that word was most likely meant to be, or "".
func Nearest(word string, known []string) string {
	best, most := "", 1+len(word)/3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < most || d == most && best == "" {
			best, most = k, d
		}
	}
	return best
}

// suggest says what to write instead of word.
func suggest(word string, known []string) string {
	if best := Nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 {
		return "there are no keys here"
	}
	return "known here: " + strings.Join(known, ", ")
}

// maxWord bounds the work on words that are no keys at all, in bytes.
const maxWord = 64

// distance counts the insertions, deletions, replacements and swaps of neighbours
// between two words (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return math.MaxInt
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
